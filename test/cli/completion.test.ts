// Completion in shells: what bash really completes, and that the tables of all verbs are in the scripts.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { allDrivers } from '../../src/block/registry.js';
import { bashCompletion } from '../../src/cli/completion/bash.js';
import { fishCompletion } from '../../src/cli/completion/fish.js';
import { type CompletedProgram, completedProgram } from '../../src/cli/completion/words.js';
import { zshCompletion } from '../../src/cli/completion/zsh.js';
import { formatNames } from '../../src/cli/format-names.js';
import { REPLACED_PROGRAMS, VERBS } from '../../src/cli/verb-table.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

registerDrivers();
/** The formats that images are made in. */
const MADE = [...allDrivers()]
  .filter(({ kind, create }) => kind === 'format' && create !== undefined)
  .map(({ name }) => name)
  .sort()
  .join(' ');

/** Words as bash has them before the cursor, the last one unfinished, and what it offers. */
const BASH: readonly (readonly [typed: string, offered: string | RegExp])[] = [
  ['inf', 'info'],
  ['co', 'compact compare completion commit convert'],
  ['--v', '--version'],
  ['--as=qemu-n', '--as=qemu-nbd'],
  ['--as = qemu-i', 'qemu-img qemu-io'],
  ['--as =', 'qemu-img qemu-io qemu-nbd'],
  ['help sna', 'snapshot'],
  ['info -f r', 'raw'],
  ['convert -O ', MADE],
  ['create -f ', MADE],
  ['backup --format = ', MADE],
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
  ['create -fraw -o cl', ''],
  ['create -fqcow2 -o key-', ''],
  ['create -f no-format -o key-', 'key-secret='],
  ['convert -f raw -O qcow2 -o compression_t', 'compression_type='],
  ['convert -o compression_type = z', 'zlib zstd'],
  ['mirror --format = qcow2 -o compa', 'compat='],
  ['amend -f qcow2 -o compa', 'compat='],
  ['amend -f qcow2 -o cluster', ''],
  ['nbd --cache = write', 'writeback writethrough'],
  ['jobs -m x ca', 'cancel'],
  ['completion ', 'bash fish zsh'],
  ['completion bash q', 'qemu-img qemu-io qemu-nbd'],
  ['help info i', ''],
  ['resize another ', ''],
  ['resize -f raw another a', ''],
  ['resize --preallocation = off a', 'a disk.raw another'],
  ['create -fqcow2 another ', ''],
  ['bitmap --add another ', ''],
  ['bitmap --merge a', ''],
  ['bitmap --add --merge x a', 'a disk.raw another'],
  ['jobs -m x cancel c', ''],
  ['convert another a', 'a disk.raw another'],
  ['rebase -b another a', 'a disk.raw another'],
  ['snapshot -a x a', 'a disk.raw another'],
  ['snapshot -c a', ''],
  ['shims ', 'folder'],
  ['jobs --f', '--follow --force'],
  ['check --rep', '--repair'],
  ['info -', /^--backing-chain .*--untrusted -U -f -h$/],
];

/** The same by the names of QEMU's tools: the first word is that of the tool. */
const BASH_TOOLS: typeof BASH = [
  ['qemu-img co', 'commit compare convert'],
  ['qemu-img ba', ''],
  ['qemu-img --', '--help --version'],
  ['qemu-img convert --sp', ''],
  ['qemu-img convert --sa', '--salvage'],
  ['qemu-img convert -O qcow2 -o compression_t', 'compression_type='],
  ['qemu-img info --output = js', 'json'],
  ['qemu-img resize -f raw an', 'another'],
  ['qemu-img resize -f raw another a', ''],
  ['qemu-img create another a', ''],
  ['qemu-io --disc', '--discard'],
  ['qemu-io -f r', 'raw'],
  ['qemu-io --cache = no', 'none'],
  ['qemu-io an', 'another'],
  ['qemu-nbd --cache = write', 'writeback writethrough'],
  ['qemu-nbd -f qcow2', 'qcow2'],
];

/** A line before the cursor, and what it is after a Tab: where several words fit, what they have in common is added. */
const ZSH: readonly (readonly [typed: string, completed: string])[] = [
  ['diskwright convert -O qcow2 -o compression', 'diskwright convert -O qcow2 -o compression_type='],
  ['diskwright convert -Oraw -o compression', 'diskwright convert -Oraw -o compression'],
  ['diskwright mirror --format=qcow2 -o compression', 'diskwright mirror --format=qcow2 -o compression_type='],
  ['diskwright mirror --format=raw -o compression', 'diskwright mirror --format=raw -o compression'],
  ['diskwright create -f qcow2 -o compat=1.1,lazy', 'diskwright create -f qcow2 -o compat=1.1,lazy_refcounts='],
  ['diskwright create -o lazy', 'diskwright create -o lazy_refcounts='],
  ['diskwright create -f raw -o preallocation=fa', 'diskwright create -f raw -o preallocation=falloc,'],
  ['diskwright amend -f qcow2 -o compa', 'diskwright amend -f qcow2 -o compat='],
  ['diskwright completion f', 'diskwright completion fish '],
  ['diskwright completion zsh qemu-i', 'diskwright completion zsh qemu-i'],
  ['diskwright completion zsh qemu-n', 'diskwright completion zsh qemu-nbd '],
  ['diskwright resize -f raw anot', 'diskwright resize -f raw another '],
  ['diskwright resize -f raw another anot', 'diskwright resize -f raw another anot'],
  ['diskwright convert another anot', 'diskwright convert another another '],
  ['qemu-img snap', 'qemu-img snapshot '],
  ['qemu-img create -f raw -o lazy', 'qemu-img create -f raw -o lazy'],
  ['qemu-img create -f qcow2 -o lazy', 'qemu-img create -f qcow2 -o lazy_refcounts='],
  ['qemu-nbd --cache=writeb', 'qemu-nbd --cache=writeback '],
  ['qemu-io -f qe', 'qemu-io -f qed '],
];

/** A line before the cursor, and what is offered. */
const FISH: typeof BASH = [
  ['diskwright sna', 'snapshot'],
  ['diskwright convert -O qcow2 -o compression', 'compression_type='],
  ['diskwright convert -Oraw -o compression', ''],
  ['diskwright convert -Oqcow2 -o compression', 'compression_type='],
  ['diskwright mirror --format=qcow2 -o compression', 'compression_type='],
  ['diskwright mirror --format=raw -o compression', ''],
  ['diskwright create -f qcow2 -o compat=1.1,lazy', 'compat=1.1,lazy_refcounts='],
  ['diskwright create -o lazy', 'lazy_refcounts='],
  ['diskwright create -f no-format -o lazy', 'lazy_refcounts='],
  ['diskwright create -f luks -o preallocation=fa', 'preallocation=falloc'],
  ['diskwright create -f qcow2 -o preallocation=m', 'preallocation=metadata'],
  ['diskwright completion zsh qemu-n', 'qemu-nbd'],
  ['diskwright completion z', 'zsh'],
  ['diskwright resize -f raw anot', 'another'],
  ['diskwright resize -f raw another anot', ''],
  ['diskwright convert another anot', 'another'],
  ['diskwright --as=qemu-n', '--as=qemu-nbd'],
  ['qemu-img co', 'commit compare convert'],
  ['qemu-img backup', ''],
  ['qemu-img create -f raw -o lazy', ''],
  ['qemu-img create -f qcow2 -o lazy', 'lazy_refcounts='],
  ['qemu-img convert --sp', ''],
  ['qemu-nbd --cache=writeb', '--cache=writeback'],
  ['qemu-io -f qc', 'qcow qcow2'],
];

/** A terminal of zsh's own (zpty): each line is typed, with a Tab and a key (Ctrl-O) that writes the line to a file. */
const ZSH_TERMINAL = `zmodload zsh/zpty
zpty shell "TERM=xterm ZDOTDIR=. zsh -d -i"
for line in "\${(@f)$(<typed)}"; do
  zpty -w -n shell "$line"$'\t\x0f'
done
zpty -w shell exit
while zpty -r shell line; do :; done
`;
const ZSH_SETUP = `autoload -U compinit; compinit -D -u
for each in _*(N.); do source ./$each; done
show() { print -r -- "$BUFFER" >> shown; BUFFER= }
zle -N show; bindkey '^O' show
setopt no_beep; LISTMAX=0
`;

const PROGRAMS = ['diskwright', 'qemu-img', 'qemu-io', 'qemu-nbd'];

describe('completion', () => {
  let shop: Workshop;
  let programs: CompletedProgram[];
  before(async () => {
    shop = await Workshop.open();
    const tables = { verbs: VERBS, replaced: REPLACED_PROGRAMS };
    programs = await Promise.all(PROGRAMS.map((name) => completedProgram(name, tables, formatNames())));
    for (const name of ['a disk.raw', 'another']) writeFileSync(shop.path(name), '');
    mkdirSync(shop.path('folder'));
  });
  after(() => shop.remove());

  it('in bash offers verbs, options, what their arguments may be, and names of files', function () {
    requirePeer(this, 'bash');
    const cases = [...BASH.map(([typed, wanted]) => [`diskwright ${typed}`, wanted] as const), ...BASH_TOOLS];
    writeFileSync(shop.path('.script'), programs.map((program) => bashCompletion(program)).join(''));
    const lines = ['set -u', 'source ./.script', 'complete -p diskwright'];
    for (const [typed] of cases) {
      const words = typed.split(' ').map((word) => `'${word}'`);
      lines.push(`COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _${typed.split(' ')[0]}`);
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
    for (const [index, [typed, wanted]] of cases.entries()) {
      const found = offered[index].trim();
      if (typeof wanted !== 'string') expect(found, typed).to.match(wanted);
      else expect(found, typed).to.equal(wanted.startsWith('a ') ? wanted : wanted.split(' ').sort().join(' '));
    }
  });

  it('in zsh offers the options of the format that is named, also for the tools of QEMU', function () {
    requirePeer(this, 'zsh');
    for (const program of programs) writeFileSync(shop.path(`_${program.name}`), zshCompletion(program));
    writeFileSync(shop.path('.zshrc'), ZSH_SETUP);
    writeFileSync(shop.path('typed'), ZSH.map(([typed]) => typed).join('\n'));
    const { stderr } = spawnSync('zsh', ['-f', '-c', ZSH_TERMINAL], {
      cwd: shop.folder,
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    expect(stderr).to.equal('');
    const shown = readFileSync(shop.path('shown'), 'utf8').split('\n').slice(0, -1);
    expect(shown).to.deep.equal(ZSH.map(([, completed]) => completed));
  });

  it('in fish offers the options of the format that is named, also for the tools of QEMU', function () {
    requirePeer(this, 'fish');
    writeFileSync(shop.path('script.fish'), programs.map((program) => fishCompletion(program)).join(''));
    const lines = FISH.map(
      ([typed]) => `complete -C '${typed}' | string replace -r '\\t.*' '' | sort | string join ' '; echo .`,
    );
    const { stdout, stderr } = spawnSync('fish', ['--no-config', '-c', ['source script.fish', ...lines].join('\n')], {
      cwd: shop.folder,
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C' },
    });
    expect(stderr).to.equal('');
    const offered = stdout.split(/\n?\.\n/);
    for (const [index, [typed, wanted]] of FISH.entries()) expect(offered[index], typed).to.equal(wanted);
  });

  for (const [shell, script] of [
    ['bash', bashCompletion],
    ['zsh', zshCompletion],
    ['fish', fishCompletion],
  ] as const) {
    it(`has all verbs and options for ${shell}`, () => {
      const [{ verbs }] = programs;
      const text = script(programs[0]);
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

  it('is printed by the program; an unknown shell or program is refused', () => {
    expect(shop.ours('completion', 'fish').stdout).to.equal(fishCompletion(programs[0]));
    expect(shop.ours('completion', 'bash', 'qemu-nbd').stdout).to.equal(bashCompletion(programs[3]));
    expect(shop.ours('completion', 'tcsh').stderr).to.equal(
      "diskwright: There is no completion for 'tcsh': use one of bash, zsh, fish\n",
    );
    expect(shop.ours('completion', 'zsh', 'qemu-system-x86_64').stderr).to.match(
      /^diskwright: There is no completion for 'qemu-system-x86_64'/,
    );
  });
});
