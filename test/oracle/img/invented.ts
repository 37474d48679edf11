// What differs between invented command lines of a seed, run by qemu-img and by us under its name.

import { isDeepStrictEqual } from 'node:util';
import { Random } from '../../../src/host/sim/random.js';
import { run } from '../../support/cli.js';
import { type Pair, type Program, type Result, runCase } from './beside.js';
import type { Case } from './cases.js';
import { reasonFor } from './explained.js';
import type { Images } from './images.js';
import { Inventor } from './inventor.js';

/** A part of an image's description that is shown. */
const SHOWN_LENGTH = 1500;

export interface Found {
  /** What no heading of docs/differences.md explains. */
  faults: string[];
  /** How often a heading explained a difference. */
  explained: Map<string, number>;
}

/** Runs the first `count` command lines of a seed; `only`: that one alone, counted from 0. */
export async function inventedDifferences(
  seed: number,
  count: number,
  images: Images,
  ours: Program,
  only?: number,
): Promise<Found> {
  const inventor = await Inventor.of(new Random(seed));
  const found: Found = { faults: [], explained: new Map() };
  for (let at = 0; at < count; at++) {
    const one = inventor.next();
    if (only !== undefined && at !== only) continue;
    const difference = await differenceOf(one, images, ours);
    if (difference === null) continue;
    const { reason, text } = difference;
    if (reason === null) found.faults.push(`command ${at} of seed ${seed}: ${text}`);
    else found.explained.set(reason, (found.explained.get(reason) ?? 0) + 1);
  }
  return found;
}

/** What is wrong with a command line that no heading explains; null: nothing is. */
export async function faultOf(one: Case, images: Images, ours: Program): Promise<string | null> {
  const difference = await differenceOf(one, images, ours);
  return difference?.reason === null ? difference.text : null;
}

async function differenceOf(
  one: Case,
  images: Images,
  ours: Program,
): Promise<{ reason: string | null; text: string } | null> {
  const pair = await runCase(one, images, ours, (words, folder) => run('qemu-img', words, folder));
  if (isDeepStrictEqual(pair.ours, pair.theirs) && pair.faults.length === 0) return null;
  // It was stopped: `dd bs=1` of some MiB, or what never ends with qemu-img (`bench -w` of an image without bytes).
  if (pair.theirs.said[0].code === null) return null;
  return { reason: reasonFor(one.commands[0], pair, images), text: `${one.text}${described(pair)}` };
}

function described({ ours, theirs, faults }: Pair): string {
  const lines = [...faults];
  const compare = (what: string, of: (result: Result) => unknown): void => {
    const [mine, other] = [of(ours), of(theirs)];
    if (isDeepStrictEqual(mine, other)) return;
    lines.push(`${what}, ours:   ${shown(mine)}`, `${what}, theirs: ${shown(other)}`);
  };
  compare('exit code', ({ said }) => said[0].code);
  compare('output', ({ said }) => said[0].stdout);
  compare('errors', ({ said }) => said[0].stderr);
  compare('files', ({ files }) => files);
  return lines.map((line) => `\n  ${line}`).join('');
}

function shown(value: unknown): string {
  return JSON.stringify(value).slice(0, SHOWN_LENGTH);
}
