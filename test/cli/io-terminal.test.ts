// `diskwright io` as a person has it: a prompt on a terminal, beside qemu-io's.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { screenOf, textOf } from '../../scripts/terminal-screen.mjs';
import { Workshop } from '../support/cli.js';
import { codeOfDeathBy } from '../support/ended.js';
import { requirePeer } from '../support/peers.js';
import { onTerminal, type TerminalOutcome, type TerminalStep } from '../support/terminal.js';

const UP = '\x1b[A';
const CTRL_C = '\x03';
const CTRL_D = '\x04';
const SIGINT = 2;

/** A person at the prompt `qemu-io> `. */
function typed(...lines: string[]): TerminalStep[] {
  return lines.map((line) => ({ see: '> ', type: line }));
}

/** What is on the screen in the end; times are never the same. */
function seen({ said }: TerminalOutcome): string {
  return textOf(screenOf(said)).replace(/(\d ops); .*$/gm, '$1');
}

describe('diskwright io on a terminal', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'python3');
    shop = await Workshop.open();
    expect(shop.ours('create', '-q', '-f', 'qcow2', 'disk', '4M').code).to.equal(0);
    // Makes the link.
    expect(shop.shim('qemu-io', '-c', 'quit').code).to.equal(0);
  });
  after(() => shop?.remove());

  function io(...steps: TerminalStep[]): TerminalOutcome {
    return onTerminal(shop, [process.execPath, shop.bundle, 'io', '-f', 'qcow2', 'disk'], steps);
  }

  const sessions: Record<string, string[]> = {
    'quit ends it; the arrow keys bring lines back': ['length\r', 'read -P 0 0 512\r', `${UP}${UP}\r`, 'quit\r'],
    'Ctrl-D ends it, on a line of its own; a command that failed makes the exit code, an empty line is none': [
      'nothing\r',
      '\r',
      '  \r',
      'read -P 1 0 512\r',
      'length\r',
      CTRL_D,
    ],
  };
  for (const [name, lines] of Object.entries(sessions)) {
    it(`shows what qemu-io shows: ${name}`, function () {
      requirePeer(this, 'qemu-io');
      const theirs = onTerminal(shop, ['qemu-io', '-f', 'qcow2', 'disk'], typed(...lines));
      const ours = onTerminal(shop, ['.qemu-io-shim/qemu-io', '-f', 'qcow2', 'disk'], typed(...lines));
      expect({ code: ours.code, seen: seen(ours) }).to.deep.equal({ code: theirs.code, seen: seen(theirs) });
    });
  }

  it('has a prompt of its own name, and edits the line', () => {
    const outcome = io(
      { see: '> ', type: 'lXngth' },
      ...Array.from({ length: 4 }, (): TerminalStep => ({ see: 'h', type: '\x1b[D' })).slice(0, 1),
      ...Array.from({ length: 3 }, (): TerminalStep => ({ see: '\x1b[1D', type: '\x1b[D' })),
      { see: '\x1b[1D', type: '\x7f' },
      { see: 'lngth', type: 'e' },
      { see: 'length', type: '\r' },
      { see: 'MiB' },
      { see: '> ', type: CTRL_D },
    );
    expect(seen(outcome)).to.equal('diskwright> length\n4 MiB\ndiskwright>\n');
    expect(outcome.code).to.equal(0);
  });

  it('completes the names of commands by Tab', () => {
    const outcome = io(
      { see: '> ', type: 'leng' },
      { see: 'leng', type: '\t' },
      { see: 'th ', type: '\r' },
      ...typed(CTRL_D),
    );
    expect(seen(outcome)).to.equal('diskwright> length\n4 MiB\ndiskwright>\n');
  });

  it('ends at Ctrl-C, at the prompt', () => {
    const outcome = io(...typed('write -q -P 5 0 512\r', CTRL_C));
    expect(outcome.code).to.equal(codeOfDeathBy('SIGINT'));
    expect(seen(outcome)).to.equal('diskwright> write -q -P 5 0 512\ndiskwright>\n');
    expect(shop.ours('io', '-r', '-f', 'qcow2', '-c', 'read -q -P 5 0 512', 'disk').code).to.equal(0);
  });

  it('ends at Ctrl-C while a command runs, and leaves the terminal as it was', () => {
    const script = `"${process.execPath}" "${shop.bundle}" io -f qcow2 disk; echo "code $?"; stty -a | grep -o ' icanon'`;
    const { said } = onTerminal(
      shop,
      ['sh', '-c', `trap : INT; ${script}`],
      [
        { see: '> ', type: 'write -q -P 6 0 512\r' },
        { see: '> ', type: 'sleep 100000\r' },
        { see: '100000\r', type: '' },
        { see: '\n', type: CTRL_C },
      ],
    );
    expect(textOf(screenOf(said))).to.match(/sleep 100000\n(\^C)?code 130\n icanon\n$/);
    expect(shop.ours('io', '-r', '-f', 'qcow2', '-c', 'read -q -P 6 0 512', 'disk').code).to.equal(0);
  });

  it('leaves the terminal as it was where it ends as a crash does', () => {
    const script = `"${process.execPath}" "${shop.bundle}" io -f qcow2 disk; stty -a | grep -o ' icanon'`;
    const { said } = onTerminal(shop, ['sh', '-c', script], typed('abort\r'));
    expect(said).to.match(/ icanon\r\n$/);
  });

  it('writes no control characters where its output is no terminal', () => {
    const script = `"${process.execPath}" "${shop.bundle}" io -f qcow2 disk > said; echo ended`;
    onTerminal(shop, ['sh', '-c', script], [{ type: `length\r${CTRL_D}` }, { see: 'ended' }]);
    expect(readFileSync(shop.path('said'), 'utf8')).to.equal('diskwright> 4 MiB\ndiskwright> ');
  });

  it('ends in order at SIGINT from another program', () => {
    const outcome = io({ see: '> ', signal: SIGINT });
    expect(outcome.code).to.equal(codeOfDeathBy('SIGINT'));
    expect(seen(outcome)).to.equal('diskwright>\n');
  });
});
