// `npm run man`: the manual pages, one a verb, from the tables that the command line is read by and its help is made of. They go to dist/man, and their list
// into package.json, by which npm installs them.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type FormatNames, formatNames } from '../src/cli/format-names.js';
import { formatted, type OptionSpec } from '../src/cli/getopt.js';
import { groupsOf, optionsOf, type Verb } from '../src/cli/verb.js';
import { VERBS, verbCalled } from '../src/cli/verb-table.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const FOLDER = 'dist/man';

/** Writes all pages to `folder`, and returns their names. */
export async function writeManPages(folder: string): Promise<string[]> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const formats = formatNames();
  const names = Object.keys(VERBS);
  const pages = new Map([['diskwright.1', generalPage(version, formats)]]);
  for (const name of names) pages.set(`diskwright-${name}.1`, verbPage(await verbCalled(name), version, formats));
  for (const [name, text] of pages) writeFileSync(join(folder, name), text);
  return [...pages.keys()];
}

function generalPage(version: string, { all }: FormatNames): string {
  const verbs = Object.entries(VERBS).map(
    ([name, { summary }]) => `.TP\n.B ${plain(`diskwright-${name}`)}(1)\n${plain(summary)}`,
  );
  return [
    head('diskwright', version),
    section('Name', `diskwright ${'\\-'} ${plain('works on disk images, and on chains of them')}`),
    section('Synopsis', '.B diskwright\n.I COMMAND\n[options] ...'),
    section(
      'Description',
      plain(`Works on disk images in files, on block devices and in NBD exports. Formats: ${all}.`),
    ),
    section('Commands', verbs.join('\n')),
    section(
      'Options',
      [
        ['--help', 'Show the general help; behind a command, that of the command.'],
        ['--version', 'Show the version, the I/O engine and the codecs; with --json, as an object.'],
        ['--as=PROGRAM ...', 'Take the command line of qemu-img, qemu-io or qemu-nbd, as when called by that name.'],
      ]
        .map(([option, help]) => `.TP\n.B ${plain(option)}\n${plain(help)}`)
        .join('\n'),
    ),
    '',
  ].join('\n');
}

function verbPage(verb: Verb, version: string, formats: FormatNames): string {
  const title = `diskwright-${verb.name}`;
  const options = groupsOf(optionsOf(verb).filter(({ refused }) => !refused));
  const examples = verb.examples.map(([line, what]) => `.TP\n.B ${plain(line)}\n${plain(what)}`);
  return [
    head(title, version),
    section('Name', `${plain(title)} ${'\\-'} ${plain(VERBS[verb.name].summary)}`),
    section('Synopsis', `.B diskwright ${plain(verb.name)}\n${plain(verb.synopsis)}`),
    section('Description', formatted(verb.description, formats).split('\n\n').map(plain).join('\n.PP\n')),
    ...options.map(([group, specs]) => section(group, specs.map((spec) => optionEntry(spec, formats)).join('\n'))),
    ...(verb.notes ?? []).map(([name, text]) => section(name, `.nf\n${text.split('\n').map(plain).join('\n')}\n.fi`)),
    section('Examples', examples.join('\n')),
    section('See also', '.BR diskwright (1)'),
    '',
  ].join('\n');
}

function optionEntry({ short, long, argument, help }: OptionSpec, formats: FormatNames): string {
  const names = [short && `\\-${short}`, long && plain(`--${long}`)].filter(Boolean).map((name) => `\\fB${name}\\fR`);
  const joint = long === undefined ? ' ' : '=';
  const takes = argument === undefined ? '' : `${joint}\\fI${plain(argument)}\\fR`;
  return `.TP\n${names.join(', ')}${takes}\n${plain(formatted(help, formats))}`;
}

function head(title: string, version: string): string {
  return `.\\" Made from the tables of the command line: do not edit.\n.TH ${plain(title.toUpperCase())} 1 "" "diskwright ${version}" "Diskwright"\n.ad l\n.nh`;
}

function section(name: string, text: string): string {
  return `.SH ${plain(name.toUpperCase())}\n${text}`;
}

/** Text in which nothing is a request or an escape to roff. */
function plain(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll(/(?<=^|\n)[.']/g, (letter) => `\\&${letter}`);
  return escaped.replaceAll('"', '\\(dq').replaceAll("'", '\\(aq').replaceAll('~', '\\(ti').replaceAll('^', '\\(ha');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const names = await writeManPages(join(root, FOLDER));
  const path = join(root, 'package.json');
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  const man = names.map((name) => `./${FOLDER}/${name}`);
  writeFileSync(path, `${JSON.stringify({ ...manifest, man }, null, 2)}\n`);
}
