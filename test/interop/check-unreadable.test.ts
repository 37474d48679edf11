// check says what qemu-img says where parts of an image cannot be read: an NBD server fails reads of one place.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { useNbd } from './nbd-support.js';

const KiB = 1024;

describe('check beside qemu-img: what cannot be read', function () {
  this.timeout(60_000);
  const bench = useNbd('nbdkit');
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  it('a refcount block is told for each cluster, and ends with 1', async () => {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'image', '8M');
    shop.qemuIo('image', 'write -P 1 0 1M');
    const file = shop.path('image');
    const image = readFileSync(file);
    const block = Number(image.readBigUInt64BE(Number(image.readBigUInt64BE(48))));
    const fail = `if [ $4 -le ${block} ] && [ $(($4 + $3)) -gt ${block} ]; then echo EIO no >&2; exit 1; fi`;
    const read = `dd if='${file}' iflag=skip_bytes,count_bytes skip=$4 count=$3 bs=${64 * KiB} status=none`;
    const server = ['eval', `get_size=stat -Lc %s '${file}'`, `pread=${fail}; ${read}`];
    for (const output of ['human', 'json']) {
      const [theirs, ours] = [await bench().nbdkit(...server), await bench().nbdkit(...server)];
      const words = ['check', '-f', 'qcow2', `--output=${output}`];
      const expected = asOurs(shop.qemuImg(...words, theirs.uri));
      expect(expected).to.include({ code: 1 });
      expect(expected.stderr).to.include("Can't get refcount for cluster 20: Input/output error");
      const { code, stdout, stderr } = shop.ours(...words, ours.uri);
      expect({ code, stderr, stdout: stdout.replace(ours.uri, theirs.uri) }).to.deep.equal(expected);
    }
  });
});
