// Finding out a format: what is recognised, and that it is what qemu recognises.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { probeFormat } from '../../src/block/probe.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { requirePeer } from '../support/peers.js';

const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

function at(...parts: [number, string][]): Uint8Array {
  const head = new Uint8Array(512);
  for (const [offset, text] of parts) head.set(latin1(text), offset);
  return head;
}

const CLOOP = '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n';

const QCOW2_VERSIONS = [4, 9, 255, 0x1_00, 0x0100_0002, 0x0200_0000, 0xffff_ffff].map(
  (version): [string, string, Uint8Array] => {
    const bytes = [24, 16, 8, 0].map((shift) => String.fromCharCode((version >>> shift) & 0xff));
    return [`qcow2 of version ${version}`, 'qcow2', at([0, `QFI\xfb${bytes.join('')}`])];
  },
);

const HEADS: [string, string, Uint8Array][] = [
  ...QCOW2_VERSIONS,
  ['nothing', 'raw', new Uint8Array(512)],
  ['qcow', 'qcow', at([0, 'QFI\xfb\0\0\0\x01'])],
  ['qcow of no version', 'raw', at([0, 'QFI\xfb\0\0\0\0'])],
  ['qed', 'qed', at([0, 'QED\0'])],
  ['qed with another letter', 'raw', at([0, 'QED1'])],
  ['vdi', 'vdi', at([64, '\x7f\x10\xda\xbe'])],
  ['vdi in the wrong place', 'raw', at([0, '\x7f\x10\xda\xbe'])],
  ['vhdx', 'vhdx', at([0, 'vhdxfile'])],
  ['vpc', 'vpc', at([0, 'conectix'])],
  ['vpc with its footer alone', 'raw', at([512 - 64, 'conectix'])],
  ['vmdk 4', 'vmdk', at([0, 'KDMV'])],
  ['vmdk 3', 'vmdk', at([0, 'COWD'])],
  ['vmdk descriptor', 'vmdk', at([0, '# Disk DescriptorFile\nversion=1\n'])],
  ['vmdk descriptor with blanks', 'vmdk', at([0, '# Disk DescriptorFile\r\n  \r\n  \n#\nversion=3\r\n'])],
  ['vmdk descriptor with an empty line', 'raw', at([0, '# Disk DescriptorFile\n\nversion=1\n'])],
  ['vmdk descriptor that ends too early', 'raw', at([0, 'version=1'])],
  ['vmdk descriptor of version 4', 'raw', at([0, '# Disk DescriptorFile\nversion=4\n'])],
  ['parallels', 'parallels', at([0, 'WithoutFreeSpace\x02\0\0\0'])],
  ['parallels, extended', 'parallels', at([0, 'WithouFreSpacExt\x02\0\0\0'])],
  ['parallels of version 3', 'raw', at([0, 'WithoutFreeSpace\x03\0\0\0'])],
  ['bochs', 'bochs', at([0, 'Bochs Virtual HD Image'], [32, 'Redolog'], [48, 'Growing'], [64, '\0\0\x02\0'])],
  ['bochs, undoable', 'raw', at([0, 'Bochs Virtual HD Image'], [32, 'Redolog'], [48, 'Undoable'], [64, '\0\0\x02\0'])],
  ['luks', 'luks', at([0, 'LUKS\xba\xbe\0\x01'])],
  ['luks 2', 'raw', at([0, 'LUKS\xba\xbe\0\x02'])],
  ['cloop', 'cloop', at([0, CLOOP])],
];

describe('format probing', () => {
  before(() => registerDrivers());

  for (const [what, format, head] of HEADS) {
    it(`takes ${what} for ${format}`, () => {
      expect(probeFormat(head, '/a')).to.equal(format);
    });
  }

  it('goes by the name for dmg', () => {
    expect(probeFormat(new Uint8Array(512), '/a.dmg')).to.equal('dmg');
    expect(probeFormat(new Uint8Array(512), '.dmg')).to.equal('raw');
    expect(probeFormat(at([0, CLOOP]), '/a.dmg')).to.equal('dmg');
  });

  it('takes a file that is shorter than any header for raw', () => {
    for (const length of [0, 1, 4, 7])
      expect(probeFormat(latin1('QFI\xfb\0\0\0\x01').subarray(0, length), '/a')).to.equal('raw');
  });

  it('recognises what qemu recognises', function () {
    requirePeer(this, 'qemu-io');
    // qemu refuses to write a header that it knows to a probed raw image: so it says what it knows.
    const folder = mkdtempSync(join(tmpdir(), 'diskwright-'));
    try {
      for (const [what, format, head] of HEADS) {
        const [image, header] = [join(folder, 'image'), join(folder, 'header')];
        writeFileSync(image, new Uint8Array(4096));
        writeFileSync(header, head);
        const { stdout } = spawnSync('qemu-io', ['-c', `write -s ${header} 0 512`, image], { encoding: 'utf8' });
        expect(stdout.includes('Operation not permitted') ? 'refused' : 'raw', what).to.equal(
          format === 'raw' ? 'raw' : 'refused',
        );
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
