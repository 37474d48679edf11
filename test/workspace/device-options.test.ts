// A device with its image in one set of options: what is the device's, and what the image's.

import { expect } from 'chai';
import type { BlockdevDeviceOptions } from '../../src/schema/generated/types.js';
import { requestOfDevice } from '../../src/workspace/device-options.js';
import { codeOf } from '../jobs/fake-job.js';

const FILE = { driver: 'file', filename: 'a' } as const;

const request = (options: Record<string, unknown>) =>
  requestOfDevice({ id: 'd', ...options } as unknown as BlockdevDeviceOptions);

describe('options of a device with its image', () => {
  it('are taken apart: the image gets what is not about the device', () => {
    const { image, ...device } = request({
      ...{ driver: 'qcow2', 'node-name': 'n', rerror: 'stop', werror: 'ignore', 'read-only': true, file: FILE },
      ...{ cache: { writeback: false, direct: true } },
    });
    expect(device).to.include({ name: 'd', file: null, writethrough: true, onRead: 'stop', onWrite: 'ignore' });
    const { driver, file } = { driver: 'qcow2', file: FILE };
    expect(image.members).to.deep.equal({ driver, 'node-name': 'n', 'read-only': true, file, cache: { direct: true } });
  });

  it('have the defaults of a device', () => {
    expect(request({ ...FILE })).to.include({
      writethrough: false,
      onRead: 'report',
      onWrite: 'enospc',
    });
  });

  it('leave names of nodes as they are', () => {
    expect(request({ driver: 'qcow2', file: 'f', backing: 'b' }).image.members).to.include({ file: 'f', backing: 'b' });
  });

  it('say the I/O engine of the file at the top; one of its own goes before it', () => {
    const plain = request({ driver: 'qcow2', aio: 'native', file: FILE }).image.members;
    expect(plain).to.deep.equal({ driver: 'qcow2', cache: {}, file: { ...FILE, aio: 'native' } });
    const own = request({ driver: 'qcow2', aio: 'native', file: { ...FILE, aio: 'threads' } }).image.members;
    expect(own['file']).to.deep.equal({ ...FILE, aio: 'threads' });
    expect(request({ ...FILE, aio: 'native' }).image.members['aio']).to.equal('native');
  });

  it('are refused with an I/O engine and without a file', async () => {
    expect(await codeOf(async () => request({ driver: 'null-co', aio: 'native' }))).to.equal('unsupported');
    expect(await codeOf(async () => request({ driver: 'raw', aio: 'native', file: 'f' }))).to.equal('unsupported');
  });

  it('are refused with an error policy that there is not', async () => {
    expect(await codeOf(async () => request({ driver: 'null-co', rerror: 'enospc' }))).to.equal('invalid-argument');
    expect(await codeOf(async () => request({ driver: 'null-co', werror: 'auto' }))).to.equal('invalid-argument');
  });
});
