// An image into a stream, and out of one: content, the end of the streams after success, failure and abort. On the simulated host.

import { once } from 'node:events';
import { PassThrough, Readable, Writable } from 'node:stream';
import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const MiB = 1 << 20;
const SIZE = 9 * MiB;

function bench(work: (workspace: Workspace, content: Buffer) => Promise<void>): () => Promise<void> {
  return async () => {
    const host = createSimHost({});
    await host.run(async () => {
      const workspace = new Workspace(host);
      await workspace.create('/a', { driver: 'qcow2', size: SIZE });
      const content = Buffer.alloc(SIZE);
      // Each place has bytes of its own.
      for (let at = MiB; at < 6 * MiB; at += 4) content.writeUInt32LE(at ^ 0x5a5a5a5a, at);
      const image = await workspace.open('/a');
      await image.write(MiB, content.subarray(MiB, 6 * MiB));
      await image.close();
      await work(workspace, content);
      await workspace.close();
    });
  };
}

/** Keeps what is written, by reference: who uses the bytes again changes them here, too. */
function keeper(): { stream: Writable; chunks: Buffer[] } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      done();
    },
  });
  return { stream, chunks };
}

/** Bytes in chunks of odd sizes. */
async function* pieces(bytes: Buffer, size = 300_001): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

describe('library: an image and a stream', () => {
  it(
    'writes raw bytes, and ends the stream',
    bench(async (workspace, content) => {
      const { stream, chunks } = keeper();
      await workspace.streamImage('/a', stream);
      expect(stream.writableFinished).to.equal(true);
      expect(Buffer.concat(chunks).equals(content)).to.equal(true);
    }),
  );

  it(
    'writes qcow2, which is the same disk',
    bench(async (workspace, content) => {
      const { stream, chunks } = keeper();
      await workspace.streamImage('/a', stream, { create: { driver: 'qcow2', 'cluster-size': 4096 } });
      await workspace.streamIntoImage(Readable.from(chunks), '/sent', { create: { driver: 'raw' }, format: 'raw' });
      expect((await workspace.check('/sent', { format: 'qcow2' })).findings).to.deep.equal([]);
      await using sent = await workspace.open('/sent', { format: 'qcow2', readOnly: true });
      expect((await sent.read(0, SIZE)).equals(content)).to.equal(true);
    }),
  );

  it(
    'makes an image of chunks of any size, in whole sectors',
    bench(async (workspace, content) => {
      const seen: number[] = [];
      const odd = content.subarray(0, 5_000_001);
      await workspace.streamIntoImage(pieces(odd), '/b', {
        create: { driver: 'qcow2' },
        onProgress: (bytes) => seen.push(bytes),
      });
      await using image = await workspace.open('/b', { readOnly: true });
      expect([image.size, seen.at(-1)]).to.deep.equal([5_000_192, 5_000_192]);
      expect((await image.read(0, odd.length)).equals(odd)).to.equal(true);
    }),
  );

  it(
    'refuses before anything is written, or made',
    bench(async (workspace, content) => {
      for (const create of [
        { driver: 'qcow2', preallocation: 'full' },
        { driver: 'qcow2', size: MiB },
      ]) {
        const { stream, chunks } = keeper();
        const { code } = await failureOf(workspace.streamImage('/a', stream, { create } as object));
        expect([code, chunks.length]).to.deep.equal([create.size ? 'invalid-argument' : 'unsupported', 0]);
        expect(stream.destroyed).to.equal(true);
      }
      for (const create of [{ preallocation: 'full' }, { 'backing-file': '/a', 'backing-fmt': 'qcow2' }]) {
        await failureOf(workspace.streamIntoImage(pieces(content), '/none.qcow2', { create } as object));
        expect((await failureOf(workspace.info('/none.qcow2'))).code).to.equal('not-found');
      }
      const growing = await failureOf(workspace.streamIntoImage(pieces(content), '/none.vdi'));
      expect([growing.code, growing.reason]).to.deep.equal([
        'unsupported',
        "Images of the format 'vdi' do not grow with a stream: give the size with 'settings.create.size'",
      ]);
      expect((await failureOf(workspace.info('/none.vdi'))).code).to.equal('not-found');
      const other = pieces(Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.alloc(4096)]));
      expect((await failureOf(workspace.streamIntoImage(other, '/none.raw'))).code).to.equal('unsupported');
      expect((await failureOf(workspace.info('/none.raw'))).code).to.equal('not-found');
      // The source was ended.
      expect(await other.next()).to.deep.equal({ done: true, value: undefined });
      const wrong: [unknown, unknown][] = [
        [workspace.streamImage('/a', 'x' as never), 'target'],
        [workspace.streamIntoImage('x' as never, '/x.raw'), 'source'],
        [workspace.streamIntoImage(Readable.from(['text']), '/x.raw'), 'a chunk of the source'],
      ];
      for (const [call, what] of wrong) {
        const { code, message } = await failureOf(call as Promise<void>);
        expect(code).to.equal('invalid-argument');
        expect(message).to.include(what);
      }
    }),
  );

  it(
    'says the error of a stream, and destroys it',
    bench(async (workspace) => {
      const broken = new Writable({
        write: (_chunk, _encoding, done) => done(Object.assign(new Error('broken'), { code: 'EPIPE', errno: -32 })),
      });
      expect((await failureOf(workspace.streamImage('/a', broken))).message).to.match(/the stream/);
      expect(broken.destroyed).to.equal(true);
      const failing = new Readable({ read: () => failing.destroy(new Error('torn')) });
      expect((await failureOf(workspace.streamIntoImage(failing, '/b.raw'))).message).to.match(/torn/);
    }),
  );

  it(
    'ends where the stream is closed within a write, and whatever `return` gives',
    bench(async (workspace, content) => {
      const silent: Writable = new Writable({ write: () => void silent.destroy() });
      const { code, message } = await failureOf(workspace.streamImage('/a', silent));
      expect([code, message]).to.deep.equal(['io', 'the stream: it was closed before all was written']);
      // The image is free.
      await (await workspace.open('/a')).close();
      const odd = { next: async () => ({ done: false, value: content.toString() }), return: () => undefined };
      const source = { [Symbol.asyncIterator]: () => odd } as never;
      expect((await failureOf(workspace.streamIntoImage(source, '/b.raw'))).message).to.include(
        'a chunk of the source',
      );
    }),
  );

  it(
    'refuses a source without bytes, before anything is made',
    bench(async (workspace) => {
      const failed = failureOf(workspace.streamIntoImage(Readable.from([]), '/b.raw'));
      expect((await failed).code).to.equal('invalid-argument');
      expect((await failureOf(workspace.info('/b.raw'))).code).to.equal('not-found');
    }),
  );

  it(
    'ends by an abort while the other side stands still',
    bench(async (workspace) => {
      const stopping = new AbortController();
      const full = new PassThrough();
      const sent = failureOf(workspace.streamImage('/a', full, { signal: stopping.signal }));
      await once(full, 'readable');
      stopping.abort();
      expect((await sent).code).to.equal('cancelled');
      expect(full.destroyed).to.equal(true);
      const again = new AbortController();
      const empty = new PassThrough();
      const came = failureOf(workspace.streamIntoImage(empty, '/b.raw', { signal: again.signal }));
      again.abort();
      expect((await came).code).to.equal('cancelled');
      expect(empty.destroyed).to.equal(true);
      expect((await failureOf(workspace.info('/b.raw'))).code).to.equal('not-found');
    }),
  );
});
