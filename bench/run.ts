// `npm run bench [-- WHAT ...]`: Diskwright and its peers in turns, one table. `npm run bench -- --help` explains the options.
// Results go to bench/out/ as JSON and Markdown; nothing here ever fails a test run.

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { againstCases } from './cases/against.js';
import { compactCases } from './cases/compact.js';
import { compareCases } from './cases/compare.js';
import { convertCases, streamedCases } from './cases/convert.js';
import { daemonCases } from './cases/daemon.js';
import { encryptionCases } from './cases/encryption.js';
import { extendedL2Cases } from './cases/extended-l2.js';
import { filterCases } from './cases/filters.js';
import { formatCases } from './cases/formats.js';
import { fuseCases } from './cases/fuse.js';
import { guestCases } from './cases/guest.js';
import { httpCases } from './cases/http.js';
import { jobCases } from './cases/jobs.js';
import { metadataCases } from './cases/metadata.js';
import { nbdCases } from './cases/nbd.js';
import { randomCases } from './cases/random.js';
import { sparseCases } from './cases/sparse.js';
import { sshCases } from './cases/ssh.js';
import { tableCases } from './cases/tables.js';
import { type DataSet, dataIn, makeData } from './lib/data.js';
import { type Case, inTurns, stabilise } from './lib/measure.js';
import { markdown, type Row, rowsOf, TABLE_HEAD } from './lib/table.js';

const HELP = `usage: npm run bench -- [options] [WHAT ...]

Runs Diskwright and its peers (qemu-img, qemu-storage-daemon, qemu-nbd, fio,
nbdkit) in turns on the same data, and prints a table of medians. WHAT is the
beginning of a case's name: convert.fs, job.mirror, nbd.raw. Without WHAT every
case is run, which takes about an hour; a case of 1 GiB takes some 10 seconds.

Options:
  --only TEXT        Only the cases that have TEXT in their names.
  --list             Print the names of the cases, and end.
  --runs N           Measured runs of each contender, after one that is not
                     measured (default 5).
  --quick            One short run each: shows that the cases run. Its figures
                     mean nothing.
  --data FOLDER      Where the data sets, the results of copies and the helper
                     programs are (default $TMPDIR/diskwright-bench). They are
                     made once (11 GB, some minutes) and stay there: delete the
                     folder at the end.
  --out FOLDER       Where bench.json and bench.md go (default bench/out).
  --keep-memory off  Leave the free memory alone. By default a helper fills 85 %
                     of it at the start, and frees all but a thousandth: else
                     the host of a virtual machine may take back free memory,
                     and the same run takes up to five times as long.
  --against FOLDER   Compare with another build of Diskwright, in the clone
                     FOLDER, at random I/O and NBD.
  --help             Show this help.
`;

const QUICK = 'One short run of each, to see that it runs: the figures mean nothing.\n';

/** A command line that cannot be carried out: there is no fault to trace. */
class UsageError extends Error {}

function fail(message: string): never {
  throw new UsageError(message);
}

function commandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        runs: { type: 'string' },
        quick: { type: 'boolean', default: false },
        only: { type: 'string', default: '' },
        list: { type: 'boolean', default: false },
        out: { type: 'string', default: fileURLToPath(new URL('./out/', import.meta.url)) },
        data: { type: 'string', default: join(tmpdir(), 'diskwright-bench') },
        against: { type: 'string' },
        'keep-memory': { type: 'string', default: 'on' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
  } catch (error) {
    fail((error as Error).message);
  }
}

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

type Values = ReturnType<typeof commandLine>['values'];

/** The cases that are asked for. Throws `UsageError` for a name that no case has. */
function wanted(cases: readonly Case[], only: string, names: readonly string[]): Case[] {
  const unknown = names.filter((what) => !cases.some(({ name }) => name.startsWith(what)));
  if (unknown.length > 0) fail(`no case begins with ${unknown.map((what) => `'${what}'`).join(', ')}`);
  const found = cases.filter(
    ({ name }) => name.includes(only) && (names.length === 0 || names.some((what) => name.startsWith(what))),
  );
  if (found.length === 0) fail(`no such case has '${only}' in its name`);
  return found;
}

function casesOf(data: DataSet, values: Values): Case[] {
  if (values.against !== undefined) return againstCases(data, HERE, resolve(values.against), values.quick);
  return [
    ...convertCases(data, OURS),
    ...streamedCases(data, OURS),
    ...formatCases(data, OURS),
    ...compareCases(data, OURS),
    ...jobCases(data, OURS),
    ...guestCases(data, OURS),
    ...metadataCases(data, OURS),
    ...randomCases(data),
    ...encryptionCases(data, OURS),
    ...extendedL2Cases(data),
    ...sparseCases(data, OURS),
    ...tableCases(data, OURS),
    ...compactCases(data, OURS),
    ...filterCases(data, values.quick),
    ...nbdCases(data, OURS, values.quick),
    ...fuseCases(data, OURS, values.quick),
    ...httpCases(data, OURS),
    ...sshCases(data, OURS),
    ...daemonCases(data, OURS, values.quick),
  ];
}

async function main(): Promise<void> {
  const { values, positionals } = commandLine();
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const runs = Number(values.runs ?? (values.quick ? 1 : 5));
  if (!Number.isInteger(runs) || runs < 1) fail(`--runs ${values.runs}: a whole number from 1 up`);
  if (!['on', 'off'].includes(values['keep-memory'])) fail(`--keep-memory ${values['keep-memory']}: on or off`);
  const cases = wanted(casesOf(dataIn(values.data), values), values.only, positionals);
  if (values.list) {
    for (const { name } of cases) console.log(name);
    return;
  }
  makeData(values.data);
  const release = values['keep-memory'] === 'on' ? await stabilise(values.data) : () => {};
  const rows: Row[] = [];
  if (values.quick) console.log(QUICK);
  console.log(TABLE_HEAD);
  try {
    for (const [index, one] of cases.entries()) {
      console.error(`${index + 1} of ${cases.length}: ${one.name}`);
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
  const note = values.quick ? `${QUICK}\n` : '';
  writeFileSync(
    join(values.out, 'bench.md'),
    `${heading}\n- runs: ${runs}\n\n${note}${TABLE_HEAD}\n${rows.map(markdown).join('\n')}\n`,
  );
}

try {
  await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`bench: ${error.message}\nTry 'npm run bench -- --help' for more information`);
  process.exitCode = 1;
}
