// Sizes of VHD images beside QEMU's: how they are rounded, and which of the two sizes in a footer counts.

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { describe, it } from 'mocha';
import { diskBytes, parseFooter } from '../../../src/drivers/formats/vpc/footer.js';
import { MAX_GEOMETRY, roundToGeometry, sectorsOf } from '../../../src/drivers/formats/vpc/geometry.js';
import { Random } from '../../../src/host/sim/index.js';
import { FOOTER_CHECKSUM, patched } from '../../formats/vpc/differencing.js';
import { useBench } from '../../interop/support.js';
import { requirePeer } from '../../support/peers.js';

const LARGEST = sectorsOf(MAX_GEOMETRY) * 512;
const LONG_TRACKS = 65535 * 16 * 63 * 512;

describe('vpc: sizes', function () {
  this.timeout(60_000);
  const bench = useBench('vpc-sizes');

  before(function () {
    requirePeer(this, 'qemu-img');
  });

  const theirs = (args: string[]): string => execFileSync('qemu-img', args, { encoding: 'utf8' });

  it('are rounded as by qemu-img, and their geometry is the same', () => {
    const random = new Random(1);
    const path = join(bench.folder, 'sizes.vpc');
    const edges = [0, 1, 34816, LONG_TRACKS, LARGEST].flatMap((edge) =>
      [-512, 0, 512].map((by) => Math.max(0, edge + by)),
    );
    const drawn = Array.from({ length: 60 }, () => random.below(2 ** random.between(10, 40)));
    for (const size of [...edges, LARGEST - 200_000, ...drawn]) {
      theirs(['create', '-q', '-f', 'vpc', path, `${size}`]);
      const { geometry, currentBytes } = parseFooter(readFileSync(path).subarray(0, 512));
      expect(roundToGeometry(size), `${size}`).to.deep.equal({ geometry, size: currentBytes });
    }
    rmSync(path);
  });

  it('are found in the footer as by qemu-img, whichever program made the image', () => {
    const path = join(bench.folder, 'creators.vpc');
    theirs(['create', '-q', '-f', 'vpc', path, '10M']);
    const image = readFileSync(path);
    for (const creator of ['vpc ', 'vs  ', 'qemu', 'win ', 'qem2', 'd2v ', 'tap\0', 'CTXS', 'vbox', '\0\0\0\0']) {
      patched(image.subarray(0, 512), FOOTER_CHECKSUM, (bytes) => {
        bytes.write(creator, 28, 'latin1');
        bytes.writeBigUInt64BE(BigInt(9 << 20), 48);
      });
      writeFileSync(path, image);
      for (const rule of [undefined, 'chs', 'current_size']) {
        const option = rule === undefined ? '' : `force_size_calc=${rule},`;
        const said = theirs(['info', '--output=json', '--image-opts', `driver=vpc,${option}file.filename=${path}`]);
        const size = JSON.parse(said)['virtual-size'];
        expect(diskBytes(parseFooter(image), rule, path), `${creator} ${rule}`).to.equal(size);
      }
    }
    rmSync(path);
  });
});
