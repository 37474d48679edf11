// Runs a job's case with one program: builds the chain, leaves too little room, runs the job, and looks at what it left.
//
//   stream, commit       the image that grows lies on the small file system, the other one beside it
//   mirror, backup,      the target lies on the small file system
//   convert

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { STEP_BYTES, WORKERS } from '../../src/jobs/copy-engine.js';
import { cliBundle } from '../support/cli.js';
import { checkImage } from './guest-run.js';
import type { JobCase, Piece } from './job-case.js';
import { Place } from './place.js';

/** A copy that fails loses at most what is under way at that moment. */
const IN_FLIGHT_BYTES = WORKERS * STEP_BYTES;

export type Program = 'diskwright' | 'qemu-img';

export interface JobOutcome {
  exitCode: number | null;
  stderr: string;
  /** What a guest reads from the chain is what it was, or the copy is the same. */
  sameContent: boolean;
  corruptions: number;
  leaks: number;
  /** Bytes of leaked clusters, and bytes that the image that grew has more of the guest's data than before. */
  leakedBytes: number;
  keptBytes: number;
  /** Free at the end, the image on the file system still. */
  freeBytes: number;
}

function must(program: string, args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return stdout;
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha1');
  for await (const part of createReadStream(path)) hash.update(part as Buffer);
  return hash.digest('hex');
}

/** Content of an image as the real tool reads it. */
async function contentOf(image: string, format: string, scratch: string): Promise<string> {
  const plain = join(scratch, 'plain');
  must('qemu-img', ['convert', '-f', format, '-O', 'raw', image, plain]);
  return hashOf(plain);
}

/** `tight`: the image lies on the small file system, and large clusters may fill that already; then it holds less. */
function fillImage(image: string, format: string, pieces: readonly Piece[], tight: boolean): void {
  const commands = pieces.flatMap(({ offset, length, fill }) => [
    '-c',
    fill === 0 ? `write -z ${offset} ${length}` : `write -P ${fill} ${offset} ${length}`,
  ]);
  for (let at = 0; at < commands.length; at += 200) {
    const args = ['-f', format, ...commands.slice(at, at + 200), image];
    if (tight) spawnSync('qemu-io', args);
    else must('qemu-io', args);
  }
}

/** Bytes of the guest's disk that the image itself holds as data. */
function heldBytes(image: string, format: string): number {
  const extents = JSON.parse(must('qemu-img', ['map', '-f', format, '--output=json', image])) as {
    length: number;
    depth: number;
    data: boolean;
    zero: boolean;
  }[];
  return extents.filter(({ depth, data }) => depth === 0 && data).reduce((sum, { length }) => sum + length, 0);
}

export async function runJob(test: JobCase, program: Program): Promise<JobOutcome> {
  const scratch = mkdtempSync(join(tmpdir(), 'diskwright-full-'));
  const place = Place.make(test.place, test.placeBytes, test.blockSize);
  try {
    return await runIn(test, program, place, scratch);
  } finally {
    place.remove();
    rmSync(scratch, { recursive: true, force: true });
  }
}

async function runIn(test: JobCase, program: Program, place: Place, scratch: string): Promise<JobOutcome> {
  const { kind } = test;
  const baseFormat = test.rawBase ? 'raw' : 'qcow2';
  const base = kind === 'commit' ? place.path('base') : join(scratch, 'base');
  const top = kind === 'stream' ? place.path('top') : join(scratch, 'top');
  const options = test.rawBase ? [] : ['-o', `cluster_size=${test.base}`];
  // Filled where there is room, and only so much of it goes to the small file system as fits there well.
  must('qemu-img', ['create', '-q', '-f', baseFormat, ...options, base, `${test.size}`]);
  const lower = kind === 'commit' ? sparing(test.lower, test.placeBytes / 4) : test.lower;
  fillImage(base, baseFormat, lower, kind === 'commit');
  const topOptions = ['-o', `cluster_size=${test.top}`, '-b', base, '-F', baseFormat];
  must('qemu-img', ['create', '-q', '-f', 'qcow2', ...topOptions, top, `${test.size}`]);
  fillImage(top, 'qcow2', kind === 'stream' ? sparing(test.upper, test.placeBytes / 4) : test.upper, kind === 'stream');

  const before = await contentOf(top, 'qcow2', scratch);
  const target = place.path('target');
  const grown = kind === 'commit' ? base : kind === 'stream' ? top : target;
  const grownFormat = kind === 'commit' ? baseFormat : kind === 'stream' ? 'qcow2' : test.targetFormat;
  const held = existsSync(grown) ? heldBytes(grown, grownFormat) : 0;
  place.fill(test.room);
  const { status, stderr } = await runProgram(test, program, { top, target });
  const freeBytes = place.free();
  place.relieve();
  const outcome: JobOutcome = {
    exitCode: status,
    stderr,
    sameContent: false,
    corruptions: 0,
    leaks: 0,
    leakedBytes: 0,
    keptBytes: 0,
    freeBytes,
  };
  const read = kind === 'stream' || kind === 'commit' ? top : target;
  if (status !== 0 && read === target) {
    // What a failed copy leaves is worth nothing; the source is what matters.
    outcome.sameContent = (await contentOf(top, 'qcow2', scratch)) === before;
  } else {
    const chain = kind === 'commit' && status === 0 ? base : read;
    outcome.sameContent =
      (await contentOf(chain, chain === base ? baseFormat : chain === top ? 'qcow2' : grownFormat, scratch)) === before;
  }
  if (existsSync(grown) && statSync(grown).size > 0) {
    const { corruptions, leaks } = checkImage(grown, grownFormat);
    const cluster = kind === 'commit' ? test.base : kind === 'stream' ? test.top : test.target;
    Object.assign(outcome, { corruptions, leaks, leakedBytes: leaks * cluster });
    outcome.keptBytes = heldBytes(grown, grownFormat) - held;
  }
  return outcome;
}

/** The first of `pieces`, up to `bytes`. */
function sparing(pieces: readonly Piece[], bytes: number): Piece[] {
  let sum = 0;
  return pieces.filter(({ length }) => {
    sum += length;
    return sum <= bytes;
  });
}

async function runProgram(
  test: JobCase,
  program: Program,
  { top, target }: { top: string; target: string },
): Promise<{ status: number | null; stderr: string }> {
  const { kind, targetFormat } = test;
  const options = targetFormat === 'qcow2' ? ['-o', `cluster_size=${test.target}`] : [];
  const compress = test.compress && targetFormat === 'qcow2';
  const ours: Record<typeof kind, string[]> = {
    stream: ['stream', '-q', '-f', 'qcow2', top],
    commit: ['commit', '-q', '-f', 'qcow2', top],
    mirror: ['mirror', '-q', `--target=${target}`, `--format=${targetFormat}`, ...options, '-f', 'qcow2', top],
    backup: [
      'backup',
      '-q',
      `--target=${target}`,
      `--format=${targetFormat}`,
      ...(compress ? ['--compress'] : []),
      ...options,
      '-f',
      'qcow2',
      top,
    ],
    convert: ['convert', '-q', ...(compress ? ['-c'] : []), '-f', 'qcow2', '-O', targetFormat, ...options, top, target],
  };
  const theirs: Record<typeof kind, string[]> = {
    stream: ['rebase', '-q', '-f', 'qcow2', '-b', '', top],
    commit: ['commit', '-q', '-f', 'qcow2', top],
    mirror: ours.convert.filter((word) => word !== '-c'),
    backup: ours.convert,
    convert: ours.convert,
  };
  const { status, stderr } =
    program === 'qemu-img'
      ? spawnSync('qemu-img', theirs[kind], { encoding: 'utf8' })
      : spawnSync(process.execPath, [await cliBundle(), ...ours[kind]], { encoding: 'utf8' });
  return { status, stderr };
}

/** What of our outcome breaks a promise, beside the real tool's; none where all is well. */
export function faultsOf(test: JobCase, ours: JobOutcome, theirs: JobOutcome): string[] {
  const faults: string[] = [];
  if (!ours.sameContent) faults.push(`the content is another one after exit code ${ours.exitCode}`);
  if (ours.corruptions > 0) faults.push(`qemu-img check found ${ours.corruptions} corruptions`);
  if (ours.exitCode !== 0 && !/[Nn]o space left/.test(ours.stderr)) {
    faults.push(`exit code ${ours.exitCode}, and the cause is not said: ${ours.stderr}`);
  }
  if (ours.exitCode === 0 && ours.stderr !== '') faults.push(`it succeeded, and says: ${ours.stderr}`);
  const keeps = test.kind === 'stream' || test.kind === 'commit';
  if (keeps && ours.exitCode !== 0 && theirs.exitCode !== 0 && ours.keptBytes < theirs.keptBytes - IN_FLIGHT_BYTES) {
    faults.push(`it kept ${ours.keptBytes} bytes of what was copied, qemu-img ${theirs.keptBytes}`);
  }
  if (ours.leaks > 0) faults.push(`${ours.leakedBytes} bytes are leaked, ${ours.keptBytes} kept`);
  return faults;
}
