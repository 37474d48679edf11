// Zeroes over NBD, beside qemu-nbd: which requests leave holes, which keep space, and what FAST_ZERO is told, by every option that has a say.

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Command, CommandFlag } from '../../src/wire/nbd/constants.js';
import { run } from '../support/cli.js';
import { NbdProcess, type Server } from '../support/nbd-process.js';
import { RawClient, type RawRequest } from '../support/nbd-raw.js';

const MIB = 1 << 20;
const SIZE = 8 * MIB;
/** Each in a MiB of its own. */
const REQUESTS: readonly Omit<RawRequest, 'offset'>[] = [
  { command: Command.writeZeroes, length: MIB },
  { command: Command.writeZeroes, length: MIB, flags: CommandFlag.noHole },
  { command: Command.writeZeroes, length: MIB, flags: CommandFlag.fastZero },
  { command: Command.writeZeroes, length: MIB, flags: CommandFlag.fastZero | CommandFlag.noHole },
  { command: Command.write, length: MIB, payload: Buffer.alloc(MIB) },
  { command: Command.trim, length: MIB },
];
const OPTIONS: readonly (readonly string[])[] = [
  [],
  ['--discard=ignore'],
  ['--discard=unmap'],
  ['--detect-zeroes=on'],
  ['--discard=unmap', '--detect-zeroes=on'],
  ['--discard=unmap', '--detect-zeroes=unmap'],
];

describe('nbd: zeroes, as qemu-nbd makes them', () => {
  let folder: string;
  const servers: NbdProcess[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-zeroes-'));
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  /** What became of a full image: the answers, the space and the map. */
  async function outcome(server: Server, format: string, options: readonly string[]): Promise<object> {
    const path = join(folder, `${server}.img`);
    writeFileSync(join(folder, 'full'), Buffer.alloc(SIZE, 5));
    expect(run('qemu-img', ['convert', '-O', format, '-S', '0', 'full', path], folder).code).to.equal(0);
    const started = await NbdProcess.start(
      server,
      join(folder, server),
      ['-t', '-f', format, ...options, path],
      folder,
    );
    servers.push(started);
    const client = await RawClient.connect(started.socket);
    await client.go();
    const errors: number[] = [];
    for (const [index, request] of REQUESTS.entries()) {
      client.request({ ...request, offset: (index + 1) * MIB });
      errors.push((await client.reply()).error);
    }
    client.close();
    expect(await started.stop()).to.equal(0);
    const { stdout } = run('qemu-img', ['map', '-f', format, '--output=json', path], folder);
    const map = (
      JSON.parse(stdout) as { start: number; length: number; zero: boolean; data: boolean; present: boolean }[]
    ).map(
      ({ start, length, zero, data, present }) =>
        `${start / MIB}+${length / MIB} ${zero ? 'zero' : ''} ${data ? 'data' : ''} ${present}`,
    );
    return { errors, map, mib: Math.round((statSync(path).blocks * 512) / MIB) };
  }

  for (const format of ['raw', 'qcow2']) {
    for (const options of OPTIONS) {
      it(`leave the same holes in ${format} with ${options.join(' ') || 'no option'}`, async () => {
        const theirs = await outcome('qemu-nbd', format, options);
        expect(await outcome('diskwright', format, options)).to.deep.equal(theirs);
      });
    }
  }
});
