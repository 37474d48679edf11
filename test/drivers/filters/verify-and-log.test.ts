// blkverify and blklogwrites on a simulated disk.

import { expect } from 'chai';
import { opened } from '../../schema/effects/kit.js';
import { failureOf, makeBench, pattern } from '../support.js';

const SIZE = 65536;
const file = (name: string, own: object = {}) => ({ driver: 'file', filename: `/${name}`, ...own });

describe('blkverify', () => {
  const both = async () => {
    const bench = makeBench();
    for (const name of ['test', 'raw']) bench.host.writeFile(`/${name}`, pattern(SIZE));
    const node = await opened(bench, { driver: 'blkverify', test: file('test'), raw: file('raw') });
    return { bench, node };
  };

  it('writes to both, and reads what both have', async () => {
    const { bench, node } = await both();
    await node.write(777, pattern(5000, 2));
    await node.writeZeroes(9000, 3000);
    expect(Buffer.compare(bench.host.readFile('/test'), bench.host.readFile('/raw'))).to.equal(0);
    const bytes = new Uint8Array(5000);
    await node.read(777, bytes);
    expect(Buffer.compare(bytes, pattern(5000, 2))).to.equal(0);
    expect(node.filename).to.equal('blkverify:/raw:/test');
  });

  it('fails a read of what differs, and says where', async () => {
    const { node } = await both();
    await node.children.get('raw')!.node.write(2000, Uint8Array.of(255));
    await node.read(0, new Uint8Array(2000));
    const error = await failureOf(node.read(1024, new Uint8Array(8192)));
    expect(error.reason).to.equal('blkverify: read offset=1024 bytes=8192 contents mismatch at offset 2000');
  });
});

interface Entry {
  sector: number;
  count: number;
  flags: number;
}

/** What the log says, by its format alone. */
function parsed(log: Uint8Array): { entries: Entry[]; counted: number; replayed: Uint8Array } {
  const view = new DataView(log.buffer, log.byteOffset, log.length);
  const u64 = (at: number) => Number(view.getBigUint64(at, true));
  expect([view.getBigUint64(0, true), u64(8)]).to.deep.equal([0x6a736677736872n, 1]);
  const [counted, bytes] = [u64(16), view.getUint32(24, true)];
  const replayed = pattern(SIZE);
  const entries: Entry[] = [];
  for (let at = bytes, i = 0; i < counted; i++) {
    const entry = { sector: u64(at), count: u64(at + 8), flags: u64(at + 16) };
    entries.push(entry);
    at += bytes;
    if ((entry.flags & 4) !== 0) continue;
    replayed.set(log.subarray(at, at + entry.count * bytes), entry.sector * bytes);
    at += entry.count * bytes;
  }
  return { entries, counted, replayed };
}

describe('blklogwrites', () => {
  const logged = (bench: ReturnType<typeof makeBench>, own: object = {}) =>
    opened(bench, {
      driver: 'blklogwrites',
      discard: 'unmap',
      file: file('disk', { discard: 'unmap' }),
      log: file('log'),
      ...own,
    });
  const made = () => {
    const bench = makeBench();
    bench.host.writeFile('/disk', pattern(SIZE));
    bench.host.writeFile('/log', new Uint8Array(0));
    return bench;
  };

  it('logs writes, zeroes, discards and flushes in their order', async () => {
    const bench = made();
    const node = await logged(bench);
    await node.write(4096, new Uint8Array(1024).fill(2));
    await node.write(8192, new Uint8Array(512).fill(3), { fua: true });
    await node.writeZeroes(32768, 1024);
    await node.discard(16384, 4096);
    await node.flush();
    const { entries } = parsed(bench.host.readFile('/log'));
    expect(entries.map(({ sector, count, flags }) => `${sector}+${count} ${flags}`)).to.deep.equal([
      '8+2 0',
      '16+1 0',
      '0+0 1',
      '64+2 0',
      '32+8 4',
      '0+0 1',
    ]);
  });

  it('has all that is needed to put the disk together again', async () => {
    const bench = made();
    const node = await logged(bench);
    for (let i = 0; i < 20; i++) await node.write(i * 3001, pattern(100 + i * 137, i));
    await node.flush();
    const { replayed } = parsed(bench.host.readFile('/log'));
    expect(Buffer.compare(replayed, bench.host.readFile('/disk'))).to.equal(0);
  });

  it('goes on with a log that is there', async () => {
    const bench = made();
    const first = await logged(bench, { 'log-sector-size': 4096 });
    await first.write(0, new Uint8Array(4096).fill(1));
    await first.discard(4096, 8192);
    await first.graph.closeAll();
    const second = await logged(bench, { 'log-append': true });
    expect(second.requestAlignment).to.equal(4096);
    await second.write(4096, new Uint8Array(4096).fill(2));
    await second.graph.closeAll();
    const { entries } = parsed(bench.host.readFile('/log'));
    expect(entries.map(({ sector, flags }) => `${sector} ${flags}`)).to.deep.equal(['0 0', '1 4', '1 0']);
  });

  it('counts entries in its header after so many', async () => {
    const bench = made();
    const node = await logged(bench, { 'log-super-update-interval': 2 });
    const counted: number[] = [];
    for (let i = 0; i < 4; i++) {
      await node.write(i * 512, new Uint8Array(512));
      const log = bench.host.readFile('/log');
      counted.push(log.length < 24 ? 0 : Number(new DataView(log.buffer, log.byteOffset).getBigUint64(16, true)));
    }
    expect(counted).to.deep.equal([0, 2, 2, 4]);
  });

  it('refuses a log that is none', async () => {
    const bench = made();
    expect((await failureOf(logged(bench, { 'log-append': true }))).code).to.equal('invalid-image');
    bench.host.writeFile('/log', new Uint8Array(4096).fill(7));
    expect((await failureOf(logged(bench, { 'log-append': true }))).message).to.match(/another magic number/);
  });
});
