// Links by the names of QEMU's programs: how they are made, and that the program takes no more by such a name than the real one.

import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { VERBS } from '../../src/cli/verb-table.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

const NAMES = ['qemu-img', 'qemu-io', 'qemu-nbd'];

describe('shims', function () {
  this.timeout(60_000);
  let shop: Workshop;
  beforeEach(async () => {
    shop = await Workshop.open();
  });
  afterEach(() => shop.remove());

  it('are links to the program, in a folder that may be new, and are made again where they are there', () => {
    for (let time = 0; time < 2; time++) {
      const { code, stdout } = shop.ours('shims', 'deep/bin');
      expect(code).to.equal(0);
      expect(stdout.split('\n')).to.deep.equal([...NAMES.map((name) => shop.path(`deep/bin/${name}`)), '']);
    }
    for (const name of NAMES) expect(readlinkSync(shop.path(`deep/bin/${name}`))).to.equal(shop.bundle);
    expect(shop.run(shop.path('deep/bin/qemu-img'), '--version').stdout).to.match(/^qemu-img version 7\.2\.0 \(/);
    expect(shop.run(shop.path('deep/bin/qemu-nbd'), '-z').stderr).to.match(/^qemu-nbd: /);
    symlinkSync(shop.path('deep/bin/qemu-img'), shop.path('again'));
  });

  it('take the place of nothing that is not ours; --force replaces files, never a folder', () => {
    mkdirSync(shop.path('bin'));
    writeFileSync(shop.path('bin/qemu-nbd'), 'mine');
    symlinkSync('/usr/bin/qemu-io', shop.path('bin/qemu-io'));
    const refused = shop.ours('shims', 'bin');
    expect(refused.code).to.equal(1);
    expect(refused.stderr.match(/is no link of Diskwright: --force replaces it$/gm)).to.have.lengthOf(2);
    expect(existsSync(shop.path('bin/qemu-img'))).to.equal(false);
    expect(readFileSync(shop.path('bin/qemu-nbd'), 'utf8')).to.equal('mine');
    expect(shop.ours('shims', '-q', '--force', 'bin')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    for (const name of NAMES) expect(lstatSync(shop.path(`bin/${name}`)).isSymbolicLink()).to.equal(true);
    mkdirSync(shop.path('other/qemu-img'), { recursive: true });
    expect(shop.ours('shims', '--force', 'other').code).to.equal(1);
    expect(existsSync(shop.path('other/qemu-io'))).to.equal(false);
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
