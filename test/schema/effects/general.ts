// What the options do that every driver has.

import { expect } from 'chai';
import { failureOf } from '../../drivers/support.js';
import {
  another,
  createdQcow2,
  type Effects,
  file,
  opened,
  outcome,
  PATH,
  qcow2,
  refusedOpen,
  SIZE,
  withFile,
} from './kit.js';

/** How often the file was opened for direct I/O. */
async function directOpens(cache: object): Promise<number> {
  const bench = withFile();
  let direct = 0;
  const open = bench.host.open.bind(bench.host);
  bench.host.open = (path, options) => {
    if (options.direct === true) direct++;
    return open(path, options);
  };
  await opened(bench, { driver: 'raw', file: file(), cache });
  return direct;
}

/** How many flushes reach the disk. */
async function flushes(cache: object): Promise<number> {
  const bench = withFile();
  const node = await opened(bench, { driver: 'raw', file: file(), cache });
  await node.write(0, new Uint8Array(512));
  await node.flush();
  return bench.host.count('flush');
}

async function holes(options: object): Promise<number> {
  const bench = withFile();
  const node = await opened(bench, options);
  await node.discard(0, SIZE);
  return bench.host.count('punchHole') + bench.host.count('discard');
}

async function dataWrites(detectZeroes: string): Promise<number> {
  const bench = withFile();
  const node = await opened(bench, { ...file(), discard: 'unmap', 'detect-zeroes': detectZeroes });
  await node.write(0, new Uint8Array(SIZE));
  return bench.host.count('write');
}

export const general: Effects = {
  'BlockdevOptions.driver': [
    'decides what the node is',
    async () => {
      expect((await opened(withFile(), { driver: 'null-co' })).driver).to.equal('null-co');
      expect((await opened(withFile(), file())).driver).to.equal('file');
    },
  ],
  'BlockdevOptions.node-name': [
    'is the name of the node',
    async () => {
      const bench = withFile();
      const node = await opened(bench, { driver: 'null-co', 'node-name': 'mine' });
      expect(bench.graph.find('mine')).to.equal(node);
    },
  ],
  'BlockdevOptions.discard': [
    'lets discards through, or not',
    async () => {
      expect(await holes(file({ discard: 'unmap' }))).to.equal(1);
      expect(await holes(file({ discard: 'ignore' }))).to.equal(0);
      expect(await holes({ driver: 'raw', file: file({ discard: 'unmap' }), discard: 'unmap' })).to.equal(1);
      expect(await holes({ driver: 'raw', file: file({ discard: 'unmap' }), discard: 'ignore' })).to.equal(0);
    },
  ],
  'BlockdevOptions.cache': ['is what its members are', async () => expect(await flushes({})).to.equal(1)],
  'BlockdevCacheOptions.direct': [
    'opens the file for direct I/O',
    async () => {
      expect(await directOpens({ direct: true })).to.equal(1);
      expect(await directOpens({ direct: false })).to.equal(0);
    },
  ],
  'BlockdevCacheOptions.no-flush': [
    'answers flushes without doing them',
    async () => {
      expect(await flushes({ 'no-flush': true })).to.equal(0);
      expect(await flushes({ 'no-flush': false })).to.equal(1);
    },
  ],
  'BlockdevOptions.read-only': [
    'refuses writes',
    async () => {
      for (const options of [file(), { driver: 'raw', file: file() }, { driver: 'null-co' }]) {
        expect((await opened(withFile(), { ...options, 'read-only': true })).readOnly).to.equal(true);
        expect((await opened(withFile(), { ...options, 'read-only': false })).readOnly).to.equal(false);
      }
    },
  ],
  'BlockdevOptions.auto-read-only': [
    'takes an image read-only that cannot be written',
    async () => {
      const bench = withFile();
      const deny = () => bench.host.setFaults({ rules: [{ operations: ['open'], errno: 'EACCES', times: 1 }] });
      deny();
      expect((await failureOf(opened(bench, file()))).code).to.equal('permission');
      deny();
      expect((await opened(bench, file({ 'auto-read-only': true }))).readOnly).to.equal(true);
    },
  ],
  'BlockdevOptions.force-share': [
    'reads beside a writer, and only reads',
    async () => {
      const bench = withFile();
      await createdQcow2(bench);
      await opened(bench, qcow2());
      const reader = { 'read-only': true };
      expect((await failureOf(opened(another(bench), qcow2(reader)))).code).to.equal('locked');
      expect(await outcome(opened(another(bench), qcow2({ ...reader, 'force-share': true })))).to.equal('');
      await refusedOpen(
        another(bench),
        qcow2({ 'force-share': true }),
        /force-share=on can only be used with read-only/,
      );
    },
  ],
  'BlockdevOptions.detect-zeroes': [
    'makes written zeroes writes of zeroes',
    async () => {
      expect(await dataWrites('off')).to.equal(1);
      expect(await dataWrites('on')).to.equal(0);
      expect(await dataWrites('unmap')).to.equal(0);
      await refusedOpen(
        withFile(),
        { driver: 'raw', file: file(), 'detect-zeroes': 'unmap' },
        /detect-zeroes to unmap is not allowed/,
      );
    },
  ],
  'BlockdevOptionsFile.filename': [
    'is the file',
    async () => {
      expect((await opened(withFile(), file())).filename).to.equal(PATH);
      expect((await failureOf(opened(withFile(), file({ filename: '/gone' })))).code).to.equal('not-found');
    },
  ],
  'BlockdevOptionsFile.locking': [
    'keeps other writers away, or lets them in',
    async () => {
      for (const [locking, result] of [
        ['on', /Failed to get/],
        ['auto', /Failed to get/],
        ['off', /^$/],
      ] as const) {
        const bench = withFile();
        await createdQcow2(bench);
        await opened(bench, { driver: 'qcow2', file: file({ locking }) });
        expect(await outcome(opened(another(bench), { driver: 'qcow2', file: file({ locking }) })), locking).to.match(
          result,
        );
      }
    },
  ],
  'BlockdevOptionsFile.aio': [
    'is refused where the host runs on another engine',
    async () => {
      const bench = withFile();
      await refusedOpen(bench, file({ aio: 'native' }), /aio=native was specified, but it requires cache.direct=on/);
      Object.defineProperty(bench.host, 'engine', { value: 'threads' });
      await refusedOpen(bench, file({ aio: 'io_uring' }), /aio=io_uring was specified, but this host runs on threads/);
      expect(await outcome(opened(bench, file({ aio: 'threads' })))).to.equal('');
    },
  ],
};
