// What is said under Diskwright's own name about a word that may be misspelt, or that is QEMU's and not ours yet; by the name qemu-img, nothing is added.

import { expect } from 'chai';
import { type OptionSpec, ParsedOptions } from '../../src/cli/getopt.js';
import { linesOnWords } from '../../src/cli/misspelt.js';
import { VERBS } from '../../src/cli/verb-table.js';
import { Workshop } from '../support/cli.js';

/** A command line, and the word that it may mean. */
const MEANT: readonly (readonly [line: string, word: string])[] = [
  ['create -f qcow2 -o clustersize=64k a 1M', 'cluster_size'],
  ['create -f qcow2 -o preallocation=ful a 1M', 'full'],
  ['amend -f qcow2 -o compt=v3 disk.qcow2', 'compat'],
  ['convert -O qcwo2 disk.qcow2 a', 'qcow2'],
  ['dd -O qcw2 if=disk.qcow2 of=a', 'qcow2'],
  ['convert -O vhd disk.qcow2 a', 'vpc'],
  ['create -f hds a 1M', 'parallels'],
  ['info -f hdd disk.qcow2', 'parallels'],
  ['dd cuont=1', 'count'],
  ['io -c raed disk.qcow2', 'read'],
  ['jobs -m gone cancle', 'cancel'],
  ['completion bsh', 'bash'],
  ['bitmap add disk.qcow2 b', '--add'],
  ['daemon --blockdev driver=qcw2,node-name=a', 'qcow2'],
  ['info --image-opts driver=qcow2,file.driver=fil,file.filename=a', 'file'],
];

describe('hints', function () {
  this.timeout(120_000);
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
    shop.ours('create', '-q', '-f', 'qcow2', 'disk.qcow2', '1M');
  });
  after(() => shop.remove());

  for (const [line, word] of MEANT) {
    it(`say what may have been meant: ${line}`, () => {
      const { code, stderr } = shop.ours(...line.split(' '));
      expect(code).to.equal(1);
      expect(stderr.split('\n').slice(1).join('\n')).to.include(`Did you mean '${word}'?`);
    });
  }

  it('say that an option takes no argument; by the name qemu-img, nothing is added', () => {
    const line = ['info', '--backing-chain=on', 'disk.qcow2'];
    expect(shop.ours(...line).stderr).to.equal(
      "diskwright: unrecognized option '--backing-chain=on'\n'--backing-chain' takes no argument.\nTry 'diskwright info --help' for more information\n",
    );
    expect(shop.ours('--as=qemu-img', ...line).stderr).to.not.include('takes no argument');
  });

  it('take no file for an option that was meant', () => {
    const line = ['stream', '--speed=abc', 'base'];
    expect(shop.ours(...line).stderr).to.include("Did you mean '--base'?");
    shop.ours('create', '-q', '-f', 'raw', 'base', '1M');
    expect(shop.ours(...line).stderr).to.not.include('Did you mean');
  });

  it('are there for every option whose value is one of a few words, and for no right value', async () => {
    const missing: string[] = [];
    let count = 0;
    for (const { load } of Object.values(VERBS)) {
      const { verb } = await load();
      for (const { key, values, argument } of verb.options as readonly OptionSpec[]) {
        const right = values ?? (argument?.endsWith('FMT') ? ['raw', 'qcow2'] : []);
        const word = right.find((value) => value.length > 3);
        if (word === undefined) continue;
        count++;
        const linesOn = (value: string) => linesOnWords(verb, verb.options, new ParsedOptions([[key, value]], []));
        if (!/^Did you mean '.*'\?$/.test(linesOn(`${word}x`)[0] ?? '')) missing.push(`${verb.name} ${key}`);
        for (const value of right) if (linesOn(value).length > 0) missing.push(`${verb.name} ${key}: ${value}`);
      }
    }
    expect(missing).to.deep.equal([]);
    expect(count).to.be.above(60);
  });

  it('say nothing where no word is like it, and nothing of a word that is right', () => {
    for (const line of [
      'create -f qcow2 -o frobnicate=1 a 1M',
      'create -f file a 1M',
      'info -f xyz disk.qcow2',
      'info -f qcow2 gone',
      'info -f file gone',
      'info -f nbd gone',
    ]) {
      expect(shop.ours(...line.split(' ')).stderr, line).to.match(/^diskwright: .*\n$/);
    }
  });

  it('are no part of what is said by the name qemu-img', () => {
    const lines = [
      'create -f qcow2 -o clustersize=64k a 1M',
      'dd cuont=1',
      'info --output=jsn disk.qcow2',
      'bitmap add a b',
    ];
    for (const line of [...lines, 'info -f bochs disk.qcow2', 'info rbd://host/disk', 'info -']) {
      expect(shop.shim('qemu-img', ...line.split(' ')).stderr, line).to.match(/^qemu-img: .*\n$/);
    }
  });

  it("say that a protocol is QEMU's", () => {
    expect(shop.ours('info', 'rbd://host/disk').stderr).to.equal(
      "diskwright: Could not open 'rbd://host/disk': Unknown protocol 'rbd'\n" +
        "Diskwright does not have the protocol 'rbd' yet; nbdkit and qemu-nbd serve it as an NBD export.\n",
    );
  });

  it('say of a pipe how convert reads and writes one, and of /dev/stdout that it is -', () => {
    shop.must('mkfifo', 'pipe');
    const pipe =
      "It is a pipe: 'diskwright convert - TARGET < PIPE' reads from one, 'diskwright convert SOURCE - > PIPE' writes to one.\n";
    const noSize = 'Could not resize file: Invalid argument\n';
    const noFile = "'file' driver requires 'pipe' to be a regular file\n";
    for (const [line, words] of [
      ['convert disk.qcow2 pipe', `pipe: error while converting raw: ${noSize}`],
      ['dd if=disk.qcow2 of=pipe', `pipe: error while creating output image: ${noSize}`],
      ['create -q -f qcow2 pipe 1M', `pipe: ${noSize}`],
      ['salvage disk.qcow2 pipe', `pipe: error while making raw: ${noSize}`],
      ['convert -n disk.qcow2 pipe', `Could not open 'pipe': ${noFile}`],
      ['convert pipe a', `Could not open 'pipe': ${noFile}`],
      ['info pipe', `Could not open 'pipe': ${noFile}`],
    ]) {
      expect(shop.ours(...line.split(' ')).stderr, line).to.equal(`diskwright: ${words}${pipe}`);
      if (line.startsWith('salvage')) continue;
      expect(shop.shim('qemu-img', ...line.split(' ')).stderr, line).to.equal(`qemu-img: ${words}`);
      // qemu-img waits for who writes to a pipe that it is to read.
      if (line !== 'convert pipe a' && line !== 'info pipe')
        expect(shop.run('qemu-img', ...line.split(' ')).stderr, line).to.equal(`qemu-img: ${words}`);
    }
    const stream =
      "Standard input and output are called '-': 'diskwright convert - TARGET', 'diskwright convert SOURCE -'.\n";
    for (const line of ['convert disk.qcow2 /dev/stdout | cat', 'convert disk.qcow2 /dev/fd/1 > a']) {
      const { stdout, stderr } = shop.run('sh', '-c', `"${process.execPath}" "${shop.bundle}" ${line}`);
      expect(stdout, line).to.equal('');
      expect(stderr.split('\n').slice(1).join('\n'), line).to.equal(stream);
    }
  });

  it('say of - that only convert has streams; our own verbs refuse it, those of QEMU take it as a file', () => {
    const only = "Only 'diskwright convert' reads standard input and writes standard output by the name '-'.";
    for (const line of [
      'mirror --target=- disk.qcow2',
      'backup --target=a -',
      'stream --base=- disk.qcow2',
      'compact -',
      'salvage - a',
    ]) {
      const { code, stdout, stderr } = shop.ours(...line.split(' '));
      expect({ code, stdout }, line).to.deep.equal({ code: 1, stdout: '' });
      expect(stderr, line).to.equal(
        `diskwright: '-' is no image: '${line.split(' ')[0]}' works on files\n${only} A file that is called - is './-'.\n`,
      );
    }
    for (const line of ['info -', 'dd if=- of=a', 'nbd -', 'io -c length -']) {
      const { code, stderr } = shop.ours(...line.split(' '));
      expect(code, line).to.equal(1);
      expect(stderr, line).to.include(`No such file or directory\n${only}`);
    }
    expect(shop.ours('create', '-q', '-f', 'raw', '-', '1M').code).to.equal(0);
    expect(shop.ours('compact', '-f', 'raw', './-').stderr).to.not.include('is no image');
  });
});
