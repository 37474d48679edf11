// Scripts by the names of QEMU's programs: how they are made, that each becomes the program, and that the program takes no more by such a name than the real one.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { VERBS } from '../../src/cli/verb-table.js';
import { Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';
import { requirePeer } from '../support/peers.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const NAMES = ['qemu-img', 'qemu-io', 'qemu-nbd'];

describe('shims', function () {
  this.timeout(60_000);
  let shop: Workshop;
  beforeEach(async () => {
    shop = await Workshop.open();
  });
  afterEach(() => shop.remove());

  it('are scripts that anybody may run, in a folder that may be new, and are made again where they are there', () => {
    for (let time = 0; time < 2; time++) {
      const { code, stdout } = shop.ours('shims', 'deep/bin');
      expect(code).to.equal(0);
      expect(stdout.split('\n')).to.deep.equal([...NAMES.map((name) => shop.path(`deep/bin/${name}`)), '']);
    }
    for (const name of NAMES) {
      const stats = lstatSync(shop.path(`deep/bin/${name}`));
      expect([stats.isFile(), stats.mode & 0o777]).to.deep.equal([true, 0o755]);
    }
    expect(shop.run(shop.path('deep/bin/qemu-img'), '--version').stdout).to.match(/^qemu-img version 7\.2\.0 \(/);
    expect(shop.run(shop.path('deep/bin/qemu-nbd'), '-z').stderr).to.match(/^qemu-nbd: /);
    // A link to one, of whatever name, is that tool.
    symlinkSync('deep/bin/qemu-img', shop.path('again'));
    expect(shop.run(shop.path('again'), 'info', 'gone').stderr).to.match(/^qemu-img: /);
  });

  it('are not made in the current folder for an empty name', () => {
    const { code, stderr } = shop.ours('shims', '');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^diskwright: Expecting the name of a folder, which is not empty\n/);
    expect(existsSync(shop.path('qemu-img'))).to.equal(false);
  });

  it('take the place of nothing that is not ours; --force replaces files, never a folder', () => {
    mkdirSync(shop.path('bin'));
    writeFileSync(shop.path('bin/qemu-nbd'), 'mine');
    symlinkSync('/usr/bin/qemu-io', shop.path('bin/qemu-io'));
    const refused = shop.ours('shims', 'bin');
    expect(refused.code).to.equal(1);
    expect(refused.stderr.match(/ was not made by Diskwright: --force replaces it$/gm)).to.have.lengthOf(2);
    expect(existsSync(shop.path('bin/qemu-img'))).to.equal(false);
    expect(readFileSync(shop.path('bin/qemu-nbd'), 'utf8')).to.equal('mine');
    expect(shop.ours('shims', '-q', '--force', 'bin')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    for (const name of NAMES) expect(lstatSync(shop.path(`bin/${name}`)).isFile()).to.equal(true);
    mkdirSync(shop.path('other/qemu-img'), { recursive: true });
    expect(shop.ours('shims', '--force', 'other').code).to.equal(1);
    expect(existsSync(shop.path('other/qemu-io'))).to.equal(false);
  });

  it('replace the links that older versions made, without a word, but no script that somebody has changed', () => {
    mkdirSync(shop.path('bin'));
    const program = readFileSync(shop.bundle);
    for (const name of NAMES) symlinkSync(shop.bundle, shop.path(`bin/${name}`));
    expect(shop.ours('shims', 'bin').code).to.equal(0);
    for (const name of NAMES) expect(lstatSync(shop.path(`bin/${name}`)).isFile()).to.equal(true);
    // Older scripts did not look for signals that are ignored.
    const script = readFileSync(shop.path('bin/qemu-img'), 'utf8');
    const older = script.replace(/^\[ ! -r \/proc[\s\S]*?^done .*\n/m, '');
    expect(older).to.have.lengthOf.below(script.length);
    writeFileSync(shop.path('bin/qemu-img'), older);
    expect(shop.ours('shims', 'bin').code).to.equal(0);
    expect(readFileSync(shop.path('bin/qemu-img'), 'utf8')).to.equal(script);
    // Neither that, nor what is written to a shim, reaches the program.
    const changed = `${readFileSync(shop.path('bin/qemu-io'), 'utf8')}# mine\n`;
    writeFileSync(shop.path('bin/qemu-io'), changed);
    expect(shop.ours('shims', 'bin').stderr).to.match(/qemu-io' was not made by Diskwright: --force replaces it\n$/);
    expect(readFileSync(shop.path('bin/qemu-io'), 'utf8')).to.equal(changed);
    expect(readFileSync(shop.bundle).equals(program)).to.equal(true);
  });

  it('become the program: its exit code, standard input, end by a signal and process are theirs', async () => {
    expect(shop.ours('shims', '-q', 'bin').code).to.equal(0);
    expect(shop.ours('create', '-q', '-f', 'raw', 'disk', '1M').code).to.equal(0);
    expect(shop.run(shop.path('bin/qemu-img'), 'compare', '-f', 'raw', 'disk', 'gone').code).to.equal(2);
    const child = spawn(shop.path('bin/qemu-io'), ['-f', 'raw', 'disk'], { cwd: shop.folder });
    let printed = '';
    child.stdout.on('data', (data) => {
      printed += data;
    });
    child.stdin.write('length\n');
    while (!printed.includes('1 MiB')) await once(child.stdout, 'data');
    expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8').split('\0').slice(1, 4)).to.deep.equal([
      shop.bundle,
      '--as=qemu-io',
      '-f',
    ]);
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).to.deep.equal(diedBy('SIGTERM'));
  });

  it('work from a folder with any name, and where the node that made them is gone', () => {
    const home = shop.path('it\'s a $(home) "of"\nours');
    mkdirSync(join(home, 'dist'), { recursive: true });
    cpSync(dirname(shop.bundle), join(home, 'dist'), { recursive: true });
    symlinkSync(join(ROOT, 'build'), join(home, 'build'));
    writeFileSync(join(home, 'package.json'), '{"name": "diskwright"}');
    const made = shop.run(process.execPath, join(home, 'dist', 'cli.cjs'), 'shims', '-q', 'bin');
    expect(made).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    const shim = shop.path('bin/qemu-img');
    const create = (name: string) => shop.run(shim, 'create', '-q', '-f', 'raw', name, '1M');
    expect(create('a file')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    writeFileSync(shim, readFileSync(shim, 'utf8').replace(/^node=.*$/m, "node='/gone/node'"));
    expect(create('b')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    expect([statSync(shop.path('a file')).size, statSync(shop.path('b')).size]).to.deep.equal([1 << 20, 1 << 20]);
    // One of ours still.
    expect(shop.run(process.execPath, join(home, 'dist', 'cli.cjs'), 'shims', '-q', 'bin').code).to.equal(0);
  });

  it('end as a command that is not found where the program is gone', () => {
    const copy = shop.path('copy/dist');
    cpSync(dirname(shop.bundle), copy, { recursive: true });
    symlinkSync(join(ROOT, 'build'), shop.path('copy/build'));
    writeFileSync(shop.path('copy/package.json'), '{"name": "diskwright"}');
    shop.run(process.execPath, join(copy, 'cli.cjs'), 'shims', '-q', 'left');
    rmSync(copy, { recursive: true });
    expect(shop.run(shop.path('left/qemu-img'), 'compare', 'disk', 'disk')).to.deep.equal({
      code: 127,
      stdout: '',
      stderr: `qemu-img: ${copy}/cli.cjs is gone: run 'diskwright shims' again\n`,
    });
  });

  it('call the program with a first argument that nothing else may be', () => {
    expect(shop.ours('--as=qemu-img', 'info', 'gone').stderr).to.match(/^qemu-img: Could not open 'gone'/);
    const { code, stderr } = shop.ours('--as=qemu', 'info');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^diskwright: Unknown program 'qemu': --as= takes qemu-img, qemu-io, /);
  });

  it('leave nothing where the disk is full', () => {
    mkdirSync(shop.path('bin'));
    // A limit of the size of files is an error of a write, as a full disk is.
    const command = `ulimit -f 0; trap '' XFSZ; exec "$0" "$@"`;
    const { code, stderr } = shop.run('sh', '-c', command, process.execPath, shop.bundle, 'shims', 'bin');
    expect({ code, stderr }).to.deep.equal({ code: 1, stderr: 'diskwright: bin: File too large\n' });
    expect(readdirSync(shop.path('bin'))).to.deep.equal([]);
  });

  it('say in one line why they cannot be made', () => {
    writeFileSync(shop.path('file'), '');
    expect(shop.ours('shims', 'file').stderr).to.equal('diskwright: file: File exists\n');
    expect(shop.ours('shims', 'file/x').stderr).to.equal('diskwright: file/x: Not a directory\n');
  });
});

describe('by the name qemu-img', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  for (const line of [
    '-T',
    '-T foo',
    '-T foo info gone',
    '--tra=foo -- info gone',
    '-T foo,bar=x info gone',
    'info --outp=json gone',
    'info --outp',
    'info --help=3',
    'info gone gone',
    'info --untrusted gone',
    'convert --progress=json a b',
    'convert --target a b',
    'compact gone',
    'help',
    'shims x',
  ]) {
    it(`what qemu-img says: ${line}`, () => {
      expect(shop.shim('qemu-img', ...line.split(' '))).to.deep.equal(shop.qemuImg(...line.split(' ')));
    });
  }

  it('shows one help, wherever it is asked for, with the formats that scripts look for', () => {
    const help = shop.shim('qemu-img', '--help');
    expect(help.stdout)
      .to.match(/^qemu-img version 7\.2\.0 \(/)
      .and.to.match(/^Supported formats: raw qcow2 /m);
    for (const words of [['info', '-h'], ['map', '--hel'], ['-h'], ['check', '-qh', 'gone']]) {
      expect(shop.shim('qemu-img', ...words), words.join(' ')).to.deep.equal(help);
    }
  });

  it('has each verb with the options of qemu-img, and no others', async () => {
    const wrong: string[] = [];
    for (const [name, { ofQemuImg, load }] of Object.entries(VERBS)) {
      if (!ofQemuImg || name === 'resize') continue;
      const { verb } = await load();
      const given = verb.options.flatMap(({ short, long, own }) => [
        ...(short === undefined ? [] : [{ option: `-${short}`, own: own === true }]),
        ...(long === undefined ? [] : [{ option: `--${long}`, own: own !== undefined }]),
      ]);
      for (const { option, own } of given) {
        // Behind an option that is unknown, qemu-img reads no further; `--help` ends it where the first is known.
        const { stderr } = shop.qemuImg(name, ...(option.length > 2 ? [option] : [`${option}x`]), '--zz');
        const known =
          !stderr.includes(`unrecognized option '${option}'`) && !stderr.includes(`option -- '${option[1]}'`);
        if (known === own) wrong.push(`${name} ${option}: ${own ? 'is' : 'is not'} qemu-img's`);
      }
    }
    expect(wrong).to.deep.equal([]);
  });
});
