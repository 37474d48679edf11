// A PC of v86 in this process, with an image for a disk and a test at its serial port.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { V86, type V86Image } from 'v86';
import { type BlockError, type V86Disk, type V86DiskOptions, v86Disk } from '../../../src/index.js';
import type { Image } from '../../../src/library/image.js';
import type { GuestDisk } from './guest-disk.js';

const MiB = 1024 ** 2;

function rom(path: string): V86Image {
  return { buffer: new Uint8Array(readFileSync(path)).buffer };
}

export class Pc {
  readonly disk: V86Disk;
  readonly emulator: V86;
  /** What the disk's `onError` was told. */
  readonly errors: BlockError[] = [];
  /** All that came through the serial port. */
  output = '';
  /** Resolves when v86 has everything. */
  readonly loaded: Promise<void>;
  #watchers = new Set<() => void>();
  /** Where the answer of the next command begins. */
  #seen = 0;

  constructor(parts: GuestDisk, image: Image, options: V86DiskOptions = {}) {
    const told = (error: BlockError) => {
      this.errors.push(error);
      this.#look();
    };
    this.disk = v86Disk(image, { onError: told, ...options });
    this.emulator = new V86({
      wasm_path: createRequire(import.meta.url).resolve('v86/build/v86.wasm'),
      memory_size: 96 * MiB,
      vga_memory_size: 2 * MiB,
      bios: rom(parts.bios),
      vga_bios: rom(parts.vgaBios),
      hda: this.disk as unknown as V86Image,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
    });
    this.disk.attach(this.emulator);
    this.loaded = new Promise((resolve) => this.emulator.add_listener('emulator-loaded', () => resolve()));
    this.emulator.add_listener('serial0-output-byte', (byte: number) => {
      this.output += String.fromCharCode(byte);
      if (byte === 0x0a) this.#look();
    });
  }

  /** Waits for text on the serial port, after what was waited for before. */
  async expect(text: RegExp): Promise<RegExpExecArray> {
    const found = (): RegExpExecArray | null => text.exec(this.output.slice(this.#seen));
    await this.until(() => found() !== null);
    const match = found() as RegExpExecArray;
    this.#seen += match.index + match[0].length;
    return match;
  }

  /** Waits for an error of the disk, and takes it. */
  async failure(): Promise<BlockError> {
    await this.until(() => false).catch(() => undefined);
    return this.errors.shift() as BlockError;
  }

  /** Does `text` come within `limitMs`? */
  async sees(text: RegExp, limitMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, limitMs, null);
    });
    try {
      return (await Promise.race([this.expect(text), late])) !== null;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Waits for something that the serial port tells; rejects with an error of the disk, after which nothing comes any more. */
  until(condition: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const [error] = this.errors;
        if (error === undefined && !condition()) return;
        this.#watchers.delete(look);
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#watchers.add(look);
      look();
    });
  }

  /** Runs a line of shell in the guest; what it printed. Throws where it fails. */
  async run(line: string): Promise<string> {
    const from = this.#seen;
    this.emulator.serial0_send(`${line}\n`);
    const { 1: code } = await this.expect(/exit=(\d+)\.\r?\n/);
    const printed = this.output
      .slice(from, this.#seen)
      .replace(/exit=\d+\.\r?\n$/, '')
      .replaceAll('\r', '');
    if (code !== '0') throw new Error(`${line}: exit ${code}: ${printed}`);
    return printed.trim();
  }

  /** Ends the PC as a power switch would; the image stays open. */
  async off(): Promise<void> {
    await this.emulator.destroy();
    await this.disk.close().catch(() => undefined);
  }

  #look(): void {
    for (const look of [...this.#watchers]) look();
  }
}
