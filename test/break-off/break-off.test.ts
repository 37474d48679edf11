// Operations that are broken off at one of their calls into the files: by EIO, a full disk, a short call, SIGKILL, Ctrl-C, SIGTERM. Afterwards no image has an
// error but leaks, each reads as before or as after, its bitmaps are so or marked as in use, an exit code of 0 means after, and a failure is said. What a signal
// leaves is said, too, and so is a new image that is not complete and was not removed; a file that was there before never is.

import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../src/host/sim/index.js';
import { type Bitmap, type Image, type ImageName, openRealHost, Workspace } from '../../src/index.js';
import { cliBundle } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { DAY, repeats, SOAK, seedOf, timeLimit } from '../support/sample.js';
import { OTHER_SECRET, SECRET } from './images.js';
import { brokenAt, makeLibrary } from './library.js';
import { OPERATIONS, type Operation } from './operations.js';

const KINDS = ['eio', 'enospc', 'short', 'kill', 'int', 'term'] as const;
type Kind = (typeof KINDS)[number];
/** The signals that these send. */
const SIGNALS: Readonly<Partial<Record<Kind, NodeJS.Signals>>> = { kill: 'SIGKILL', int: 'SIGINT', term: 'SIGTERM' };
/** A sentence about the files. */
const SAID = /(Cancelled\.|Interrupted\.|Interrupted before the work began|Interrupted after the work was done).*\.\n$/;
/** A signal has ended it, and yet it has done its work. */
const DONE = 'Interrupted after the work was done.';
const LOST_BITMAPS = 'Lost persistent bitmaps';
/** Calls of each operation and kind that are broken; a soak breaks all. */
const CALLS = repeats(1, Number.POSITIVE_INFINITY);
/** A run takes a part of the operations, another one each day; a soak takes all. */
const PARTS = 5;
const CHOSEN = OPERATIONS.filter((_, index) => SOAK || (index + DAY) % PARTS === 0);
const SEED = seedOf(DAY);
const AT_ONCE = 2;

/** What an image reads as, and what each of its bitmaps says. */
interface State {
  content: Buffer;
  bitmaps: ReadonlyMap<string, string>;
}

const IN_USE = 'in use';

interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  /** The call was reached. */
  hit: boolean;
}

describe(`operations that are broken off (seed ${SEED})`, function () {
  this.timeout(timeLimit(300_000));
  let root: string;
  let library: string;
  let bundle: string;
  let workspace: Workspace;
  const random = new Random(SEED);

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    root = mkdtempSync(join(tmpdir(), 'diskwright-break-'));
    library = makeLibrary(root);
    bundle = await cliBundle();
    workspace = new Workspace(await openRealHost());
    for (const secret of [SECRET, OTHER_SECRET]) await workspace.addObject(secret);
  });
  after(async () => {
    await workspace?.close();
    rmSync(root, { recursive: true, force: true });
  });

  function runBroken(
    words: readonly string[],
    folder: string,
    kind: Kind,
    nth: number,
    more: NodeJS.ProcessEnv = {},
  ): Promise<Ended> {
    const hit = `${folder}.hit`;
    rmSync(hit, { force: true });
    const env = { ...brokenAt(library, folder, kind, nth, hit), ...more };
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [bundle, ...words], {
        cwd: folder,
        env,
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      let stdout = '';
      let stderr = '';
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        stdout += text;
      });
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        stderr += text;
      });
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr, hit: existsSync(hit) }));
    });
  }

  async function stateOf(path: string, operation: Operation): Promise<State> {
    const image = await openAt(path, operation);
    try {
      const bitmaps = new Map(image.bitmaps.map((bitmap) => [bitmap.name, stateOfBitmap(bitmap)]));
      return { content: await image.read(0, image.size), bitmaps };
    } finally {
      await image.close();
    }
  }

  async function openAt(path: string, operation: Operation): Promise<Image> {
    const ways = waysTo(path, operation);
    for (const [at, way] of ways.entries()) {
      try {
        return await workspace.open(way, { readOnly: true });
      } catch (error) {
        if (at === ways.length - 1) throw error;
      }
    }
    throw new Error('no way');
  }

  async function faultsOf(path: string, operation: Operation): Promise<string[]> {
    const [image] = waysTo(path, operation);
    // Nobody checks a LUKS image; it is opened and read.
    if ((image as { driver: string }).driver !== 'qcow2') return [];
    const { findings } = await workspace.check(image);
    return findings.filter(({ severity }) => severity !== 'leak').map((finding) => JSON.stringify(finding));
  }

  /** What the images of `folder` read as. */
  async function contents(operation: Operation, names: readonly string[], folder: string): Promise<Map<string, State>> {
    const found = new Map<string, State>();
    for (const name of names) found.set(name, await stateOf(join(folder, name), operation));
    return found;
  }

  for (const operation of CHOSEN) {
    it(operation.name, async () => {
      const place = mkdtempSync(join(root, 'operation-'));
      const origin = join(place, 'origin');
      mkdirSync(origin);
      operation.prepare(origin);
      const { images, written = [], made } = operation;
      const names = [...images, ...written, ...(made === undefined ? [] : [made])];
      const before = operation.repairs ? null : await contents(operation, images, origin);
      const whole = join(place, 'whole');
      cpSync(origin, whole, { recursive: true });
      const calls = await countCalls(operation, whole);
      const after = await contents(operation, names, whole);
      const work = KINDS.flatMap((kind) => sample(calls).map((nth) => ({ kind, nth })));
      const failures: string[] = [];
      const next = async (): Promise<void> => {
        for (let one = work.shift(); one !== undefined; one = work.shift()) {
          const folder = join(place, `${one.kind}${one.nth}`);
          cpSync(origin, folder, { recursive: true });
          const ended = await runBroken(operation.words, folder, one.kind, one.nth);
          const wrong = await judge(operation, folder, one.kind, ended, before, after);
          if (wrong !== null) failures.push(`${one.kind} at call ${one.nth} of ${calls}: ${wrong}`);
          rmSync(folder, { recursive: true });
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, next));
      if (failures.length > 0) throw new Error(failures.join('\n'));
    });
  }

  /** Runs the operation unbroken, and resolves with the number of its calls. */
  async function countCalls({ name, words }: Operation, folder: string): Promise<number> {
    const notes = `${folder}.calls`;
    const { code, stderr } = await runBroken(words, folder, 'kill', 1 << 30, { BREAK_COUNT: notes });
    if (code !== 0) throw new Error(`${name} ended with ${code}: ${stderr}`);
    return statSync(notes).size;
  }

  function sample(calls: number): number[] {
    if (CALLS >= calls) return Array.from({ length: calls }, (_, i) => i + 1);
    return [...new Set(Array.from({ length: CALLS }, () => random.between(1, calls)))];
  }

  async function judge(
    operation: Operation,
    folder: string,
    kind: Kind,
    { code, signal, stdout, stderr, hit }: Ended,
    before: Map<string, State> | null,
    after: Map<string, State>,
  ): Promise<string | null> {
    if (stderr.includes('\n    at ')) return `a stack trace: ${stderr}`;
    if (kind === 'short' && code !== 0) return `a short call is no failure: ${stderr}`;
    const wanted = SIGNALS[kind] ?? null;
    if (signal !== null && signal !== wanted) return `it ended by ${signal}: ${stderr}`;
    if (kind === 'kill' && hit && signal === null) return `it ended with ${code}: ${stderr}`;
    // An exit code of its own would have a script go on.
    if (kind !== 'kill' && wanted !== null && signal === null && code !== 0) return `it ended with ${code}: ${stderr}`;
    /** It has ended by a signal that it may listen to. */
    const bySignal = signal !== null && kind !== 'kill';
    const isDone = code === 0 || (bySignal && stderr.includes(DONE));
    const said = operation.saysOnOutput ? stdout + stderr : stderr;
    // By a signal, `io` closes its images in order, and says something of a write that was under way only.
    const maySayNothing = bySignal && operation.saysOnOutput === true;
    if (bySignal && said === '' && !maySayNothing) {
      // The system ended it, since it had not begun: it does not listen before.
      return isUntouched(folder) ? null : 'it ended without a word, after it had changed a file';
    }
    if (signal === null && code !== 0 && said.trim() === '') return `it failed with ${code} without a word`;
    if (bySignal && !maySayNothing && !SAID.test(stderr)) {
      return `it does not say what state the files are in: ${stderr}`;
    }
    if (operation.repairs && !isDone) await workspace.check(join(folder, operation.images[0]), { repair: 'all' });
    const names = readdirSync(folder);
    let bitmapsAreAfter = true;
    for (const name of operation.images) {
      const path = join(folder, name);
      const faults = await faultsOf(path, operation);
      if (faults.length > 0) return `${name}, after exit ${code}: ${faults.slice(0, 3).join('; ')} ${stderr}`;
      const found = await stateOf(path, operation);
      const isAfter = found.content.equals(after.get(name)!.content);
      if (!isAfter && (isDone || before === null))
        return `${name} does not read as after, after exit ${code} ${stderr}`;
      if (!isAfter && !found.content.equals(before!.get(name)!.content)) {
        return `${name} reads neither as before nor as after`;
      }
      const wrong = wrongBitmap(found, isDone ? null : before?.get(name), after.get(name)!);
      if (wrong !== null) return `${name}, after exit ${code}: ${wrong}`;
      if (wrongBitmap(found, null, after.get(name)!) !== null) bitmapsAreAfter = false;
    }
    for (const name of operation.written ?? []) {
      const faults = await faultsOf(join(folder, name), operation);
      if (faults.length > 0) return `${name}, after exit ${code}: ${faults.slice(0, 3).join('; ')} ${stderr}`;
      if (!isDone) continue;
      const found = await stateOf(join(folder, name), operation);
      if (!found.content.equals(after.get(name)!.content)) return `${name} does not read as after, after exit 0`;
    }
    const { made, madeFirst } = operation;
    // Where bitmaps could not be stored at the end, what was made first is whole.
    const isMade = async (name: string): Promise<boolean> =>
      (await stateOf(join(folder, name), operation)).content.equals(after.get(name)!.content);
    if (made !== undefined && kind !== 'kill' && !isDone && !(stderr.includes(LOST_BITMAPS) && (await isMade(made)))) {
      const wrong = wrongRest(folder, made, stderr, bySignal);
      if (wrong !== null) return wrong;
    }
    const isWhole = isDone || (madeFirst && bitmapsAreAfter);
    if (made === undefined || !isWhole) return null;
    if (!names.includes(made)) return `${made} was not made`;
    const faults = await faultsOf(join(folder, made), operation);
    if (faults.length > 0) return `${made}: ${faults.slice(0, 3).join('; ')}`;
    const found = await stateOf(join(folder, made), operation);
    if (!found.content.equals(after.get(made)!.content)) return `${made} reads otherwise`;
    const wrong = wrongBitmap(found, null, after.get(made)!);
    return wrong === null ? null : `${made}: ${wrong}`;
  }
});

/** The files are those that were there before, byte for byte. */
function isUntouched(folder: string): boolean {
  const origin = join(folder, '..', 'origin');
  const names = readdirSync(folder);
  return (
    names.length === readdirSync(origin).length &&
    names.every((name) => {
      const before = join(origin, name);
      return existsSync(before) && readFileSync(before).equals(readFileSync(join(folder, name)));
    })
  );
}

/** What is wrong with what a failure, or a signal, left of the image that was to be made, and with what is said of it. */
function wrongRest(folder: string, made: string, stderr: string, bySignal: boolean): string | null {
  const [rest, before] = [folder, join(folder, '..', 'origin')].map((place) => {
    const path = join(place, made);
    return existsSync(path) ? readFileSync(path) : null;
  });
  const isBefore = rest === null ? before === null : before?.equals(rest) === true;
  if (bySignal && isBefore && stderr.includes('before the work began')) return null;
  if (rest === null) {
    if (before !== null) return `${made} was removed, which was there before`;
    return !bySignal || stderr.includes('was not made') ? null : `it does not say that ${made} was not made: ${stderr}`;
  }
  const expected = isBefore ? /unchanged|incomplete/ : /incomplete/;
  if (isBefore && !bySignal) return null;
  return expected.test(stderr) ? null : `it does not say that ${made} is incomplete: ${stderr}`;
}

function waysTo(filename: string, { ways }: Operation): ImageName[] {
  return ways?.(filename) ?? [{ driver: 'qcow2', file: { driver: 'file', filename } }];
}

/** What may be dirty of a bitmap, and whether it records; `IN_USE` where it is marked, so that nobody believes it. */
function stateOfBitmap(bitmap: Bitmap): string {
  if (bitmap.inconsistent) return IN_USE;
  const { granularity, recording } = bitmap;
  return JSON.stringify({ granularity, recording, runs: [...bitmap.runs()] });
}

/**
 * What is wrong with the bitmaps of an image; null: each is as before, as after, or marked. `before`: null where they must be as after, undefined where it is not
 * known.
 */
function wrongBitmap({ bitmaps }: State, before: State | null | undefined, after: State): string | null {
  const names = new Set([...bitmaps.keys(), ...after.bitmaps.keys(), ...(before?.bitmaps.keys() ?? [])]);
  for (const name of names) {
    const state = bitmaps.get(name);
    if (state === after.bitmaps.get(name)) continue;
    if (before !== null && (state === before?.bitmaps.get(name) || state === IN_USE)) continue;
    return `the bitmap '${name}' is ${state}, neither as before nor as after nor marked`;
  }
  return null;
}
