// `diskwright snapshot`, and what else shows internal snapshots, beside qemu-img: the same commands, one after the other, to images of the same name.

import { expect } from 'chai';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';

const COMMANDS: readonly string[][] = [
  ['snapshot'],
  ['snapshot', 'a.qcow2'],
  ['snapshot', '-l', 'gone.qcow2'],
  ['snapshot', '-c', 'one', 'a.qcow2'],
  ['snapshot', '-c', 'one', 'a.qcow2'],
  ['snapshot', '-c', '7', 'a.qcow2'],
  ['snapshot', '-c', '', 'a.qcow2'],
  ['snapshot', '-c', 'a very long name, with spaces', 'a.qcow2'],
  ['snapshot', '-c', 'ünï', 'a.qcow2'],
  ['snapshot', '-l', 'a.qcow2'],
  ['snapshot', '-U', '-l', 'a.qcow2'],
  ['snapshot', '-U', '-c', 'x', 'a.qcow2'],
  ['snapshot', '-l', '-c', 'x', 'a.qcow2'],
  ['snapshot', '-c', 'x', '-c', 'x', 'a.qcow2'],
  ['snapshot', '-c', 'x'],
  ['snapshot', '-x', 'a.qcow2'],
  ['snapshot', '-f', 'qcow2', '-l', 'a.qcow2'],
  ['snapshot', '--image-opts', '-l', 'driver=qcow2,file.filename=a.qcow2'],
  ['snapshot', '-a', 'none', 'a.qcow2'],
  ['snapshot', '-a', '7', 'a.qcow2'],
  ['snapshot', '-a', '2', 'a.qcow2'],
  ['snapshot', '-d', 'none', 'a.qcow2'],
  ['snapshot', '-d', '2', 'a.qcow2'],
  ['snapshot', '-d', 'one', 'a.qcow2'],
  ['snapshot', '-l', 'a.qcow2'],
  ['snapshot', '-c', 'next', 'a.qcow2'],
  ['snapshot', '-q', '-d', '', 'a.qcow2'],
  ['snapshot', '-q', '-l', 'a.qcow2'],
  ['info', 'a.qcow2'],
  ['info', '--output=json', 'a.qcow2'],
  ['check', 'a.qcow2'],
  ['check', '--output=json', 'a.qcow2'],
  ['snapshot', '-c', 'x', 'narrow.qcow2'],
  ['snapshot', '-l', 'narrow.qcow2'],
  ['snapshot', '--image-opts', '-c', 'x', 'driver=raw,file.filename=a.raw'],
  ['snapshot', '--image-opts', '-a', 'x', 'driver=raw,file.filename=a.raw'],
  ['snapshot', '--image-opts', '-d', 'x', 'driver=raw,file.filename=a.raw'],
  ['snapshot', '--image-opts', '-l', 'driver=raw,file.filename=a.raw'],
  ['convert', '-l', 'none', '-O', 'raw', 'a.qcow2', 'x'],
  ['convert', '-l', '7', '-O', 'raw', 'a.qcow2', 'x'],
  ['convert', '-l', 'snapshot.id=2', '-O', 'raw', 'a.qcow2', 'x'],
  ['convert', '-l', 'snapshot.id=2,snapshot.name=7', '-O', 'raw', 'a.qcow2', 'x'],
  ['convert', '-l', 'snapshot.nix=2', '-O', 'raw', 'a.qcow2', 'x'],
  ['convert', '-f', 'raw', '-l', '1', '-O', 'raw', 'a.raw', 'x'],
];

/** Without what differs from run to run, or where the clusters lie. */
function comparable({ code, stdout, stderr }: Outcome): Outcome {
  return {
    code,
    stdout: stdout
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
      .replace(/("date-n?sec"): \d+/g, '$1: DATE')
      .replace(/^disk size: .*$/m, 'disk size')
      .replace(/"actual-size": \d+/, 'actual-size')
      .replace(/[\d.]+% fragmented/, 'fragmented')
      .replace(/^ *"fragmented-clusters": \d+,?\n/m, '')
      .replace(/Image end offset: \d+/, 'end')
      .replace(/"image-end-offset": \d+/, 'end'),
    stderr,
  };
}

describe('command line beside qemu-img: internal snapshots', function () {
  this.timeout(60_000);
  let theirs: Workshop;
  let ours: Workshop;

  before(async () => {
    theirs = await Workshop.open();
    ours = await Workshop.open();
    for (const shop of [theirs, ours]) {
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2', '10M');
      shop.qemuIo('a.qcow2', 'write -P 1 0 192k', 'write -P 3 3M 1M');
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', 'refcount_bits=1', 'narrow.qcow2', '1M');
      shop.qemuIo('narrow.qcow2', 'write 0 64k');
      shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'a.raw', '1M');
    }
  });
  after(() => {
    theirs.remove();
    ours.remove();
  });

  for (const words of COMMANDS) {
    it(`diskwright ${words.map((word) => (/^[\w./=,-]+$/.test(word) ? word : `'${word}'`)).join(' ')}`, () => {
      const wanted = comparable(asOurs(theirs.qemuImg(...words), words[0]));
      expect(comparable(ours.ours(...words))).to.deep.equal(wanted);
    });
  }
});
