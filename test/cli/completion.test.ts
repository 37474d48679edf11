// Completion in shells: what bash really completes, and that the tables of all verbs are in the scripts.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { bashCompletion } from '../../src/cli/completion/bash.js';
import { fishCompletion } from '../../src/cli/completion/fish.js';
import { type CompletedVerb, completedVerbs } from '../../src/cli/completion/words.js';
import { zshCompletion } from '../../src/cli/completion/zsh.js';
import { formatNames } from '../../src/cli/format-names.js';
import { VERBS } from '../../src/cli/verb-table.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

/** Words as bash has them before the cursor, the last one unfinished, and what it offers. */
const CASES: readonly (readonly [typed: string, offered: string | RegExp])[] = [
  ['inf', 'info'],
  ['co', 'compact compare completion commit convert'],
  ['--v', '--version'],
  ['--as=qemu-n', '--as=qemu-nbd'],
  ['--as = qemu-i', 'qemu-img qemu-io'],
  ['--as =', 'qemu-img qemu-io qemu-nbd'],
  ['help sna', 'snapshot'],
  ['info -f r', 'raw'],
  ['convert -O ', 'luks qcow2 raw'],
  ['info --output = js', 'json'],
  ['info --output =', 'human json'],
  ['info --output js', 'json'],
  ['convert --sal', '--salvage'],
  ['convert -t w', 'writeback writethrough'],
  ['convert -T w', 'writeback writethrough'],
  ['check -r ', 'all leaks'],
  ['convert --progress = ', 'bar json none'],
  ['resize -f raw a', 'a disk.raw another'],
  ['create -b an', 'another'],
  ['create -o an', ''],
  ['create -f qcow2 -o pre', 'preallocation='],
  ['create -f qcow2 -o preallocation = f', 'falloc full'],
  ['create -f qcow2 -o preallocation =', 'falloc full metadata off'],
  ['create -f qcow2 -o cluster_size = 64k,lazy', '64k,lazy_refcounts='],
  ['create -f qcow2 -o cluster_size = 64k,lazy_refcounts = ', 'off on'],
  ['create -f raw -o cl', ''],
  ['convert -f raw -O qcow2 -o compression_t', 'compression_type='],
  ['convert -o compression_type = z', 'zlib zstd'],
  ['mirror --format = qcow2 -o compa', 'compat='],
  ['amend -f qcow2 -o compa', 'compat='],
  ['amend -f qcow2 -o cluster', ''],
  ['nbd --cache = write', 'writeback writethrough'],
  ['jobs -m x ca', 'cancel'],
  ['completion ', 'bash fish zsh'],
  ['shims ', 'folder'],
  ['jobs --f', '--follow --force'],
  ['check --rep', '--repair'],
  ['info -', /^--backing-chain .*--untrusted -U -f -h$/],
];

describe('completion', () => {
  let shop: Workshop;
  let verbs: CompletedVerb[];
  before(async () => {
    shop = await Workshop.open();
    verbs = await completedVerbs(VERBS, formatNames());
  });
  after(() => shop.remove());

  it('in bash offers verbs, options, what their arguments may be, and names of files', function () {
    requirePeer(this, 'bash');
    for (const name of ['a disk.raw', 'another']) writeFileSync(shop.path(name), '');
    mkdirSync(shop.path('folder'));
    writeFileSync(shop.path('.script'), bashCompletion('diskwright', verbs));
    const lines = ['set -u', 'source ./.script', 'complete -p diskwright'];
    for (const [typed] of CASES) {
      const words = ['diskwright', ...typed.split(' ')].map((word) => `'${word}'`);
      lines.push(`COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _diskwright`);
      lines.push(`printf '%s\\n' "\${COMPREPLY[@]-}" | sort | tr '\\n' ' '; echo`);
    }
    const { stdout, stderr } = spawnSync('bash', ['-c', lines.join('\n')], {
      cwd: shop.folder,
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    expect(stderr).to.equal('');
    expect(shop.run('bash', '-n', '.script')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    const [registered, ...offered] = stdout.split('\n');
    expect(registered).to.equal('complete -F _diskwright diskwright');
    for (const [index, [typed, wanted]] of CASES.entries()) {
      const found = offered[index].trim();
      if (typeof wanted !== 'string') expect(found, typed).to.match(wanted);
      else expect(found, typed).to.equal(wanted.startsWith('a ') ? wanted : wanted.split(' ').sort().join(' '));
    }
  });

  for (const [shell, script] of [
    ['bash', bashCompletion],
    ['zsh', zshCompletion],
    ['fish', fishCompletion],
  ] as const) {
    it(`has all verbs and options for ${shell}`, () => {
      const text = script('diskwright', verbs);
      const missing = verbs.flatMap(({ name, options }) => {
        const part =
          shell === 'fish'
            ? text
                .split('\n')
                .filter((line) => line.includes(`= ${name} `))
                .join('\n')
            : text;
        const has = (option: string): boolean => {
          if (shell !== 'fish') return part.includes(option);
          return part.includes(option.startsWith('--') ? ` -l ${option.slice(2)} ` : ` -s ${option.slice(1)} `);
        };
        const names = options.flatMap((option) => option.names);
        return [...(text.includes(name) ? [] : [name]), ...names.filter((option) => !has(option))];
      });
      expect(missing).to.deep.equal([]);
      // Outside of quotes nothing of a help text is left: each line's quotes are in pairs.
      for (const line of text.split('\n').filter((each) => !each.startsWith('#'))) {
        const plain = line.replaceAll(shell === 'fish' ? /\\./g : /'\\''/g, '');
        expect((plain.match(/'/g) ?? []).length % 2, line).to.equal(0);
      }
    });
  }

  it('is printed by the program; an unknown shell is refused', () => {
    expect(shop.ours('completion', 'fish').stdout).to.equal(fishCompletion('diskwright', verbs));
    expect(shop.ours('completion', 'tcsh').stderr).to.equal(
      "diskwright: There is no completion for 'tcsh': use one of bash, zsh, fish\n",
    );
  });
});
