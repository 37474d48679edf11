// `npm run bench [-- WHAT ... --runs N --only TEXT --quick --out FOLDER --keep-memory off --against FOLDER]`: us and the peers in turns, one table.
// `--against FOLDER` sets this build beside another one of Diskwright in FOLDER instead, at random I/O and NBD.
// WHAT is the beginning of a case's name (`nbd`, `convert.fs`), TEXT a part of it; `--quick` only shows that each case runs.
// Results go to bench/out/ as JSON and Markdown; nothing here ever fails a test run.

import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { againstCases } from './cases/against.js';
import { compareCases } from './cases/compare.js';
import { convertCases } from './cases/convert.js';
import { daemonCases } from './cases/daemon.js';
import { filterCases } from './cases/filters.js';
import { guestCases } from './cases/guest.js';
import { jobCases } from './cases/jobs.js';
import { metadataCases } from './cases/metadata.js';
import { nbdCases } from './cases/nbd.js';
import { randomCases } from './cases/random.js';
import { sparseCases } from './cases/sparse.js';
import { type DataSet, makeData } from './lib/data.js';
import { type Case, inTurns, stabilise } from './lib/measure.js';
import { markdown, type Row, rowsOf, TABLE_HEAD } from './lib/table.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    runs: { type: 'string' },
    quick: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    out: { type: 'string', default: fileURLToPath(new URL('./out/', import.meta.url)) },
    data: { type: 'string', default: join(tmpdir(), 'diskwright-bench') },
    against: { type: 'string' },
    'keep-memory': { type: 'string', default: 'on' },
  },
});

const HERE = fileURLToPath(new URL('..', import.meta.url));
const CLI = join(HERE, 'dist/cli.cjs');
const OURS = [process.execPath, CLI];

function machine(): Record<string, string> {
  const first = (program: string, ...words: string[]) =>
    execFileSync(program, words, { encoding: 'utf8' }).split('\n')[0];
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: `${cpus().length} x ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: release(),
    node: process.version,
    qemu: first('qemu-img', '--version'),
    fio: first('fio', '--version'),
    diskwright: execFileSync(process.execPath, [CLI, '--version'], { encoding: 'utf8' }).trim().replaceAll('\n', '; '),
  };
}

function isWanted({ name }: Case): boolean {
  return name.includes(values.only) && (positionals.length === 0 || positionals.some((what) => name.startsWith(what)));
}

function casesOf(data: DataSet): Case[] {
  if (values.against !== undefined) return againstCases(data, HERE, resolve(values.against), values.quick);
  return [
    ...convertCases(data, OURS),
    ...compareCases(data, OURS),
    ...jobCases(data, OURS),
    ...guestCases(data, OURS),
    ...metadataCases(data, OURS),
    ...randomCases(data),
    ...sparseCases(data, OURS),
    ...filterCases(data, values.quick),
    ...nbdCases(data, OURS, values.quick),
    ...daemonCases(data, OURS, values.quick),
  ];
}

async function main(): Promise<void> {
  const runs = Number(values.runs ?? (values.quick ? 1 : 5));
  if (!Number.isInteger(runs) || runs < 1) throw new Error(`--runs ${values.runs}: a whole number from 1 up`);
  const data = makeData(values.data);
  for (const name of [data.fsRaw, data.fsQcow2, data.mixedRaw]) readFileSync(name);
  const cases = casesOf(data).filter(isWanted);
  const release = values['keep-memory'] === 'on' ? await stabilise(values.data) : () => {};
  const rows: Row[] = [];
  console.log(TABLE_HEAD);
  try {
    for (const one of cases) {
      const found = rowsOf(one, await inTurns(one, runs));
      for (const row of found) console.log(markdown(row));
      rows.push(...found);
    }
  } finally {
    release();
  }
  const facts = machine();
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, 'bench.json'), `${JSON.stringify({ machine: facts, runs, rows }, null, 1)}\n`);
  const heading = Object.entries(facts)
    .map(([name, value]) => `- ${name}: ${value}`)
    .join('\n');
  writeFileSync(
    join(values.out, 'bench.md'),
    `${heading}\n- runs: ${runs}\n\n${TABLE_HEAD}\n${rows.map(markdown).join('\n')}\n`,
  );
}

await main();
