// Runs a guest's case on one server, and says what became of each sector that a write was answered for.

import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, CommandFlag } from '../../src/wire/nbd/constants.js';
import { NbdProcess, type Server } from '../support/nbd-process.js';
import { RawClient } from '../support/nbd-raw.js';
import { type GuestCase, makeImage, pattern, SECTOR, type Step } from './guest-case.js';
import { Place } from './place.js';

/** A sector may hold anything: a request that would have changed it failed, or it was trimmed. */
const ANYTHING = -1;

export interface GuestOutcome {
  /** Requests that were answered well, and that were refused. */
  answered: number;
  refused: number;
  flushesFailed: number;
  /** Sectors whose content is not what was answered. */
  lost: Set<number>;
  /** Sectors of which an answer said what they hold. */
  certain: Set<number>;
  exitCode: number | null;
  stderr: string;
  /** Of `qemu-img check`; leaks in clusters. */
  corruptions: number;
  leaks: number;
}

export async function runGuest(test: GuestCase, server: Server): Promise<GuestOutcome> {
  const scratch = mkdtempSync(join(tmpdir(), 'diskwright-full-'));
  const place = Place.make(test.place, test.placeBytes, test.blockSize);
  try {
    makeImage(test, join(scratch, 'image'));
    const image = place.path('image');
    const sparse = test.image === 'sparse copy' ? 'always' : 'auto';
    const copied = spawnSync('cp', [`--sparse=${sparse}`, join(scratch, 'image'), image], { encoding: 'utf8' });
    if (copied.status !== 0) throw new Error(copied.stderr);
    return await serve(test, server, place, image, scratch);
  } finally {
    place.remove();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function serve(
  test: GuestCase,
  server: Server,
  place: Place,
  image: string,
  scratch: string,
): Promise<GuestOutcome> {
  const args = ['-t', '-f', test.format, '--discard=unmap', image];
  const started = await NbdProcess.start(server, join(scratch, 'socket'), args, scratch);
  const guest = new SoakGuest(test, place);
  let exitCode: number | null;
  try {
    const client = await RawClient.connect(started.socket);
    await client.go();
    await guest.run(client);
    if (test.ending === 'relieve and close') place.relieve();
    if (test.ending === 'flush and kill') guest.flushed = (await client.command({ command: Command.flush })) === 0;
    if (test.ending !== 'flush and kill') client.request({ command: Command.disconnect });
    else await started.stop('SIGKILL');
    client.close();
    exitCode = await started.stop();
  } catch (error) {
    await started.stop('SIGKILL');
    throw new Error(`${server}: ${(error as Error).message}: ${started.stderr}`, { cause: error });
  }
  place.relieve();
  const { corruptions, leaks } = checkImage(image, test.format);
  return {
    answered: guest.answered,
    refused: guest.refused,
    flushesFailed: guest.flushesFailed,
    lost:
      test.ending === 'flush and kill' && !guest.flushed
        ? new Set()
        : lostSectors(test, guest.expected, image, scratch),
    certain: new Set([...guest.expected].filter(([, value]) => value !== ANYTHING).map(([sector]) => sector)),
    exitCode,
    stderr: started.stderr,
    corruptions,
    leaks,
  };
}

class SoakGuest {
  answered = 0;
  refused = 0;
  flushesFailed = 0;
  flushed = false;
  /** By sector: the value that an answer promised, or ANYTHING. What is not here reads as at the start: zeroes. */
  readonly expected = new Map<number, number>();
  readonly #test: GuestCase;
  readonly #place: Place;

  constructor(test: GuestCase, place: Place) {
    this.#test = test;
    this.#place = place;
  }

  /** Sends the steps in order, up to `depth` of them at once where they do not touch each other. */
  async run(client: RawClient): Promise<void> {
    let batch: Step[] = [];
    for (const step of this.#test.steps) {
      const alone = step.kind === 'flush' || step.kind === 'fill' || step.kind === 'relieve';
      if (alone || batch.length === this.#test.depth || batch.some((other) => meets(other, step))) {
        await this.#send(client, batch);
        batch = [];
      }
      if (!alone) batch.push(step);
      else if (step.kind === 'flush') {
        if ((await client.command({ command: Command.flush })) !== 0) this.flushesFailed++;
      } else if (step.kind === 'fill') this.#place.fill();
      else this.#place.relieve();
    }
    await this.#send(client, batch);
  }

  async #send(client: RawClient, steps: readonly Step[]): Promise<void> {
    steps.forEach((step, i) => {
      const cookie = BigInt(i);
      if (step.kind === 'write') {
        const payload = pattern(step.value, step.length);
        client.request({ command: Command.write, offset: step.offset, payload, cookie });
      } else if (step.kind === 'zero') {
        const flags = step.noHole ? CommandFlag.noHole : 0;
        client.request({ command: Command.writeZeroes, offset: step.offset, length: step.length, flags, cookie });
      } else if (step.kind === 'trim') {
        client.request({ command: Command.trim, offset: step.offset, length: step.length, cookie });
      }
    });
    for (let left = steps.length; left > 0; left--) {
      const { cookie, error } = await client.reply();
      const step = steps[Number(cookie)];
      if (error === 0) this.answered++;
      else this.refused++;
      this.#note(step, error === 0);
    }
  }

  #note(step: Step, answered: boolean): void {
    if (!('offset' in step)) return;
    const value = !answered || step.kind === 'trim' ? ANYTHING : step.kind === 'write' ? step.value : 0;
    const first = step.offset / SECTOR;
    for (let i = 0; i < step.length / SECTOR; i++) this.expected.set(first + i, value);
  }
}

function meets(a: Step, b: Step): boolean {
  return 'offset' in a && 'offset' in b && a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

export function checkImage(image: string, format: string): { corruptions: number; leaks: number } {
  if (format !== 'qcow2') return { corruptions: 0, leaks: 0 };
  const { stdout, stderr, status } = spawnSync('qemu-img', ['check', '-f', 'qcow2', '--output=json', image], {
    encoding: 'utf8',
  });
  try {
    const found = JSON.parse(stdout) as { corruptions?: number; leaks?: number; 'check-errors'?: number };
    return { corruptions: (found.corruptions ?? 0) + (found['check-errors'] ?? 0), leaks: found.leaks ?? 0 };
  } catch {
    throw new Error(`qemu-img check ended with ${status}: ${stderr}`);
  }
}

/** Sectors that do not hold what was promised, as the real tool reads the image. */
function lostSectors(
  test: GuestCase,
  expected: ReadonlyMap<number, number>,
  image: string,
  scratch: string,
): Set<number> {
  const plain = join(scratch, 'plain');
  const read = spawnSync('qemu-img', ['convert', '-f', test.format, '-O', 'raw', image, plain], { encoding: 'utf8' });
  if (read.status !== 0) throw new Error(`qemu-img convert: ${read.stderr}`);
  const lost = new Set<number>();
  const file = openSync(plain, 'r');
  const sector = Buffer.alloc(SECTOR);
  try {
    for (const [at, value] of expected) {
      if (value === ANYTHING) continue;
      readSync(file, sector, 0, SECTOR, at * SECTOR);
      if (!sector.equals(pattern(value, SECTOR))) lost.add(at);
    }
  } finally {
    closeSync(file);
  }
  return lost;
}

/** What of our outcome breaks a promise, beside the real tool's; none where all is well. */
export function faultsOf(ours: GuestOutcome, theirs: GuestOutcome): string[] {
  const faults: string[] = [];
  const kept = [...ours.lost].filter((sector) => theirs.certain.has(sector) && !theirs.lost.has(sector));
  if (kept.length > 0) faults.push(`${kept.length} sectors are lost that qemu-nbd kept, the first ${kept[0]}`);
  const told = ours.flushesFailed > 0 || (ours.exitCode !== 0 && ours.exitCode !== null);
  if (ours.lost.size > 0 && !told) faults.push(`${ours.lost.size} sectors are lost and nobody was told`);
  if (ours.lost.size > 0 && told && !/lost/.test(ours.stderr)) faults.push('what is lost is not said by name');
  if (ours.lost.size === 0 && ours.exitCode !== 0 && ours.exitCode !== null) {
    faults.push(`nothing is lost, and it ended with ${ours.exitCode}: ${ours.stderr}`);
  }
  if (ours.flushesFailed > theirs.flushesFailed) faults.push(`${ours.flushesFailed} flushes failed`);
  if (ours.corruptions > 0) faults.push(`qemu-img check found ${ours.corruptions} corruptions`);
  return faults;
}
