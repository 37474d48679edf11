// One generated session with each program, and every way in which they differ.

import { writeFileSync } from 'node:fs';
import { Random } from '../../../src/host/sim/random.js';
import { Workshop } from '../../support/cli.js';
import { IoPair, type Said } from './pair.js';
import { randomSetting, SessionMaker, type Setting } from './sessions.js';

/** Lines about each difference; empty: there is none. */
export async function differencesOf(seed: number, commands: number): Promise<string[]> {
  const random = new Random(seed);
  const shop = await Workshop.open();
  try {
    const pair = new IoPair(shop);
    const setting = randomSetting(random);
    for (const [program, ...args] of setting.make) pair.make(program, ...args);
    writeFileSync(pair.path('theirs', 'pattern'), 'what a file holds\n');
    pair.copy();
    const lines = new SessionMaker(random, setting).lines(commands);
    const { ours, theirs } = pair.run(setting.args, lines);
    const found = [...differingAnswers(lines, ours, theirs), ...differingImages(pair, setting)];
    if (found.length === 0) return [];
    return [
      `seed ${seed}: ${setting.make.map((words) => words.join(' ')).join('; ')}; qemu-io ${setting.args.join(' ')}`,
      ...found,
    ];
  } finally {
    shop.remove();
  }
}

function differingAnswers(lines: readonly string[], ours: Said, theirs: Said): string[] {
  const found: string[] = [];
  for (let at = 0; at < Math.max(ours.answers.length, theirs.answers.length); at++) {
    // What is begun may be answered before the next command, or while that waits for it.
    const last = lines[at - 1]?.startsWith('aio_') ? at + 1 : at;
    const answer = (said: Said): string => said.answers.slice(at, last + 1).join('');
    const [mine, other] = [answer(ours), answer(theirs)];
    if (mine !== other)
      found.push(
        `${lines[at - 1] ?? '(before the first)'}\n  ours:   ${JSON.stringify(mine)}\n  theirs: ${JSON.stringify(other)}`,
      );
    at = last;
  }
  if (ours.errors !== theirs.errors) found.push(differingLines(ours.errors, theirs.errors));
  if (ours.code !== theirs.code) found.push(`exit code: ours ${ours.code}, theirs ${theirs.code}`);
  return found;
}

function differingLines(ours: string, theirs: string): string {
  const [mine, other] = [ours.split('\n'), theirs.split('\n')];
  const at = mine.findIndex((line, index) => line !== other[index]);
  const from = at < 0 ? mine.length - 1 : at;
  return `standard error, line ${from + 1}\n  ours:   ${JSON.stringify(mine.slice(from, from + 3))}\n  theirs: ${JSON.stringify(other.slice(from, from + 3))}`;
}

/** The images hold the same, and have it in the same layers. Ours is whole. */
function differingImages(pair: IoPair, { make, exact }: Setting): string[] {
  const formats = new Map(make.filter(([program]) => program === 'qemu-img').map((words) => [words.at(-2)!, words[4]]));
  const found: string[] = [];
  for (const [name, format] of formats) {
    const { ours, theirs } = pair.look('map', '--output=json', '-f', format, name);
    if (exact && format !== 'raw' && withoutPlaces(ours) !== withoutPlaces(theirs))
      found.push(`map of ${name}\n  ours:   ${withoutPlaces(ours)}\n  theirs: ${withoutPlaces(theirs)}`);
    const compared = pair.look('compare', '-f', format, '-F', format, name, pair.path('theirs', name));
    if (!compared.ours.startsWith('0 ')) found.push(`content of ${name}: ${compared.ours}`);
    if (format === 'raw') continue;
    const checked = pair.look('check', '-f', format, name);
    if (!checked.ours.startsWith('0 ')) found.push(`check of ${name}: ${checked.ours}`);
  }
  return found;
}

/** Which layer has what: whether it is there as zeroes or as data is the file system's business. */
function withoutPlaces(map: string): string {
  const runs: { end: number; what: string }[] = [];
  for (const { start, length, depth, present } of JSON.parse(map.slice(map.indexOf('[')))) {
    const what = `${depth} ${present}`;
    if (runs.at(-1)?.what === what) runs.at(-1)!.end = start + length;
    else runs.push({ end: start + length, what });
  }
  return JSON.stringify(runs);
}
