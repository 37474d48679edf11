// A machine without a guest, and its IDE disk `d0`, driven from outside: the monitor's own commands `o` and `i` reach the ports. (Debian's machines
// have no `qtest`.) The processor halts at its first instruction. Requests go by DMA, so that each is one request of the device:
//
//   0x1f1..0x1f7   features, count, sector number, command / status (bit 0: error, bit 7: busy)
//   0xc000..       the bus master: command (bit 0: go, bit 3: to memory), status (bit 0: at work), address of the descriptor
//   0x10000        two descriptors, one for data and one for the list of what is trimmed; what is at 0x11000 and 0x12000, they describe

import type { StorageDaemon } from '../../../support/qmp.js';
import { FIRST_SECTOR, type Guest, type GuestRequest, SECTOR, SECTORS } from './guest.js';

const DATA = 0x12000;
const RANGES = 0x11000;
const DESCRIPTORS = 0x10000;
const LAST = 0x8000;
const BUS_MASTER = 0xc000;
/** ATA commands, and which descriptor they need. */
const COMMANDS: Record<GuestRequest, { code: number; feature: number; count: number; descriptor: number; go: number }> =
  {
    read: { code: 0xc8, feature: 0, count: SECTORS, descriptor: DESCRIPTORS, go: 9 },
    write: { code: 0xca, feature: 0, count: SECTORS, descriptor: DESCRIPTORS, go: 1 },
    trim: { code: 0x06, feature: 1, count: 1, descriptor: DESCRIPTORS + 8, go: 1 },
    flush: { code: 0xe7, feature: 0, count: 0, descriptor: 0, go: 0 },
  };

/** Eight bytes of the machine's memory: two numbers of 32 bits. */
const memory = (address: number, low: number, high: number): string[] => [
  '-device',
  `loader,addr=${address},data=${(BigInt(high) << 32n) | BigInt(low)},data-len=8`,
];

/** `bios` is a file that `halt` fills. */
export const machine = (bios: string): string[] => [
  ...['qemu-system-x86_64', '-M', 'pc', '-accel', 'tcg', '-m', '16', '-nodefaults', '-display', 'none', '-S'],
  ...['-bios', bios, '-device', 'ide-hd,drive=d0,bus=ide.0'],
  ...memory(DESCRIPTORS, DATA, ((LAST << 16) | (SECTORS * SECTOR)) >>> 0),
  ...memory(DESCRIPTORS + 8, RANGES, ((LAST << 16) | SECTOR) >>> 0),
  // Of 64 bits: the first sector, and in the last 16 how many.
  ...memory(RANGES, FIRST_SECTOR, SECTORS << 16),
];

/** HLT, over and over. */
export const halt = (): Buffer => Buffer.alloc(65536, 0xf4);

export class IdeGuest implements Guest {
  readonly #daemon: StorageDaemon;

  private constructor(daemon: StorageDaemon) {
    this.#daemon = daemon;
  }

  static async start(daemon: StorageDaemon): Promise<IdeGuest> {
    const guest = new IdeGuest(daemon);
    // The bus master of the second function of the second PCI device: its address, and that it may.
    await guest.#out('w', 0xcf8, 0x80000920);
    await guest.#out('w', 0xcfc, BUS_MASTER | 1);
    await guest.#out('w', 0xcf8, 0x80000904);
    await guest.#out('h', 0xcfc, 5);
    await daemon.execute('cont');
    await daemon.event('RESUME');
    return guest;
  }

  async begin(request: GuestRequest): Promise<void> {
    const { code, feature, count, descriptor, go } = COMMANDS[request];
    await this.#out('b', BUS_MASTER, 0);
    await this.#out('b', BUS_MASTER + 2, 6);
    await this.#out('w', BUS_MASTER + 4, descriptor);
    // LBA of 28 bits, and the disk.
    const registers = [feature, count, FIRST_SECTOR, 0, 0, 0xe0, code];
    for (const [i, value] of registers.entries()) await this.#out('b', 0x1f1 + i, value);
    if (go !== 0) await this.#out('b', BUS_MASTER, go);
  }

  async answer(): Promise<'done' | 'failed'> {
    for (;;) {
      const atWork = (await this.#in(BUS_MASTER + 2)) & 1;
      const status = await this.#in(0x1f7);
      if (atWork === 0 && (status & 0x80) === 0) return (status & 1) === 0 ? 'done' : 'failed';
    }
  }

  end(): void {}

  async #out(size: 'b' | 'h' | 'w', port: number, value: number): Promise<void> {
    await this.#monitor(`o/${size} ${port} ${value}`);
  }

  async #in(port: number): Promise<number> {
    // "portb[0xc002] = 0x04"
    return Number((await this.#monitor(`i/xb ${port}`)).split('=')[1]);
  }

  async #monitor(line: string): Promise<string> {
    return (await this.#daemon.execute('human-monitor-command', { 'command-line': line })) as string;
  }
}
