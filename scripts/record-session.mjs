// `node scripts/record-session.mjs [FILE]`: the picture of the README. Runs the commands below in a pseudo terminal (util-linux's `script`), on images that they
// make, and draws what was to be seen there as an SVG file (docs/session.svg). Light or dark, as the reader's browser is.
//
//   commands --script--> bytes --terminal-screen.mjs--> lines with colours --> SVG
//
// A rate limit makes the bar the same each time.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { screenOf } from './terminal-screen.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const COLUMNS = 80;

/** Not to be seen: the images. */
const PREPARE = [
  'diskwright create -q -f qcow2 base.qcow2 1G',
  'diskwright io -f qcow2 -c "write -q -P 1 0 16M" -c "write -q -P 2 600M 4M" base.qcow2',
];

const COMMANDS = [
  'diskwright create -q -f qcow2 -b base.qcow2 -F qcow2 disk.qcow2',
  "diskwright io -f qcow2 -c 'write -q -P 3 8M 4M' disk.qcow2",
  'diskwright backup --target=monday.qcow2 --compress -r 16M disk.qcow2',
  'diskwright compare disk.qcow2 monday.qcow2',
  'diskwright check monday.qcow2',
  'diskwright commit disk.qcow2',
  'diskwright map --outptu=json base.qcow2',
];

const FONT_SIZE = 13;
const LINE_HEIGHT = 18;
const CHARACTER_WIDTH = 7.83;
const MARGIN = 16;

const STYLE = `
  .paper { fill: #f6f8fa; stroke: #d0d7de }
  text { font: ${FONT_SIZE}px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; fill: #1f2328; white-space: pre }
  .typed { font-weight: 600 }
  .c31 { fill: #b3261e }
  .c32 { fill: #1a7f37 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #161b22; stroke: #30363d }
    text { fill: #e6edf3 }
    .c31 { fill: #ff7b72 }
    .c32 { fill: #56d364 }
  }`;

/** What a terminal got from `command`, run in `folder`. */
function onTerminal(command, folder, env) {
  const line = `stty cols ${COLUMNS} rows 24; ${command}`;
  const { stdout, error } = spawnSync('script', ['-qec', line, '/dev/null'], { cwd: folder, env, encoding: 'utf8' });
  if (error !== undefined) throw error;
  return stdout;
}

/** Runs the session. Its lines, each a list of pieces `{ text, style }`. */
function record() {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-session-'));
  try {
    const commands = join(folder, '.bin');
    mkdirSync(commands);
    const launcher = `#!/bin/sh\nexec "${process.execPath}" "${join(ROOT, 'dist', 'cli.cjs')}" "$@"\n`;
    writeFileSync(join(commands, 'diskwright'), launcher, { mode: 0o755 });
    const { NO_COLOR: _, FORCE_COLOR: __, ...usual } = process.env;
    const env = { ...usual, PATH: `${commands}:${process.env.PATH}`, TERM: 'xterm', SHELL: '/bin/sh' };
    for (const command of PREPARE) spawnSync('sh', ['-c', command], { cwd: folder, env, stdio: 'inherit' });
    return COMMANDS.flatMap((command) => {
      const shown = screenOf(onTerminal(command, folder, env));
      if (shown.at(-1).length === 0) shown.pop();
      return [[{ text: `$ ${command}`, style: 'typed' }], ...shown.map(pieces)];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Neighbours of one colour are one piece. */
function pieces(line) {
  const found = [];
  for (const { character, colour } of line) {
    const style = colour === 0 ? '' : `c${colour}`;
    if (found.at(-1)?.style === style) found.at(-1).text += character;
    else found.push({ text: character, style });
  }
  return found;
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** The picture of these lines. */
function draw(lines) {
  const width = Math.ceil(COLUMNS * CHARACTER_WIDTH + 2 * MARGIN);
  const height = lines.length * LINE_HEIGHT + 2 * MARGIN;
  const texts = lines.map((line, index) => {
    const y = MARGIN + (index + 0.75) * LINE_HEIGHT;
    const spans = line.map(({ text, style }) =>
      style === '' ? escaped(text) : `<tspan class="${style}">${escaped(text)}</tspan>`,
    );
    return `<text x="${MARGIN}" y="${y}" xml:space="preserve">${spans.join('')}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>A session with diskwright in a terminal: an overlay is made, backed up with a rate limit, compared, checked and committed</title>
<style>${STYLE}
</style>
<rect class="paper" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>
${texts.join('\n')}
</svg>
`;
}

writeFileSync(process.argv[2] ?? join(ROOT, 'docs', 'session.svg'), draw(record()));
