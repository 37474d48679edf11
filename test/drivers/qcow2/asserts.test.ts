// A state that must not be: nothing is written from it.

import { expect } from 'chai';
import { L2Codec } from '../../../src/drivers/formats/qcow2/l2-codec.js';
import { Reclamation } from '../../../src/drivers/formats/qcow2/reclamation.js';
import type { BlockError } from '../../../src/util/errors.js';
import { takeUnexpected } from '../../support/unexpected.js';
import { failureOf, pattern } from '../support.js';
import { again, contentOf, fresh } from './bench.js';

const CLUSTER = 65536;

describe('qcow2: asserts', () => {
  it('do not publish a write whose L2 entry changed in spite of the range lock', async () => {
    const { node, ...fixture } = await fresh({ size: 1 << 20 });
    await node.write(0, pattern(CLUSTER));
    await node.flush();
    const { host } = L2Codec.prototype;
    L2Codec.prototype.host = () => (3 * CLUSTER) as ReturnType<typeof host>;
    let failure: BlockError;
    try {
      failure = await failureOf(node.write(CLUSTER, pattern(CLUSTER)));
    } finally {
      L2Codec.prototype.host = host;
    }
    expect(failure.code).to.equal('internal');
    expect(takeUnexpected()).to.have.length(1);
    const content = await contentOf(await again(fixture));
    expect(Buffer.from(content.subarray(0, CLUSTER)).equals(pattern(CLUSTER))).to.equal(true);
    expect(content.subarray(CLUSTER).every((byte) => byte === 0)).to.equal(true);
  });

  it('stop a mapping guard that is released twice', () => {
    const guard = new Reclamation({ unflushed: false }).guardRead();
    guard.release();
    expect(() => guard.release()).to.throw('what began in an epoch ends once');
    expect(takeUnexpected()).to.have.length(1);
  });
});
