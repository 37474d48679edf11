import { expect } from 'chai';
import type { HostFile } from '../../src/host/host.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { codeOf } from './support.js';

const MIB = 1024 * 1024;

async function opened(host: SimHost, path = '/disk'): Promise<HostFile> {
  return host.open(path, { writable: true, create: 'keep' });
}

describe('simulated host: files', () => {
  it('reads what was written, and zeroes past the end', async () => {
    const file = await opened(createSimHost());
    await file.write(10, new Uint8Array([1, 2, 3]));
    const out = new Uint8Array(6).fill(9);
    await file.read(9, out);
    expect([...out]).to.deep.equal([0, 1, 2, 3, 0, 0]);
    expect(await file.size()).to.equal(13);
  });

  it('scatters and gathers one range', async () => {
    const host = createSimHost();
    const file = await opened(host);
    await file.writev(4094, [new Uint8Array([1, 2, 3]), new Uint8Array([4])]);
    const [a, b] = [new Uint8Array(1), new Uint8Array(3)];
    await file.readv(4094, [a, b]);
    expect([...a, ...b]).to.deep.equal([1, 2, 3, 4]);
  });

  it('holds files of eight tebibytes that cost only what they hold', async () => {
    const host = createSimHost();
    const file = await opened(host);
    const end = 8 * 1024 * 1024 * MIB;
    await file.truncate(end);
    await file.write(end - 4096, new Uint8Array(4096).fill(5));
    expect(await file.seek(0)).to.deep.equal({ data: false, end: end - 4096 });
    expect(await file.seek(end - 100)).to.deep.equal({ data: true, end });
    expect((await file.info()).allocated).to.equal(4096);
  });

  it('punches, zeroes and reserves: holes to SEEK_DATA, room to st_blocks', async () => {
    const file = await opened(createSimHost());
    await file.write(0, new Uint8Array(64 * 1024).fill(1));
    await file.punchHole(4000, 8192 + 196);
    expect(await file.seek(0)).to.deep.equal({ data: true, end: 4096 });
    expect(await file.seek(4096)).to.deep.equal({ data: false, end: 12288 });
    expect((await file.info()).allocated).to.equal(56 * 1024);
    await file.zeroRange(16384, 4096);
    expect(await file.seek(16384)).to.deep.equal({ data: false, end: 20480 });
    await file.allocate(MIB, MIB, true);
    expect((await file.info()).allocated).to.equal(56 * 1024 + MIB);
    expect(await file.size()).to.equal(64 * 1024);
    const out = new Uint8Array(100);
    await file.read(3990, out);
    expect([...out.subarray(0, 10), ...out.subarray(10)]).to.deep.equal([...Array(10).fill(1), ...Array(90).fill(0)]);
  });

  it('reads zeroes after shrinking and growing again', async () => {
    const file = await opened(createSimHost());
    await file.write(0, new Uint8Array(10000).fill(7));
    await file.truncate(5000);
    await file.truncate(10000);
    const out = new Uint8Array(10000);
    await file.read(0, out);
    expect(out.lastIndexOf(7)).to.equal(4999);
  });

  it('copies a range between files, and stops at the end of the source', async () => {
    const host = createSimHost();
    host.writeFile('/a', new Uint8Array([1, 2, 3, 4]));
    const [a, b] = [await opened(host, '/a'), await opened(host, '/b')];
    expect(await a.copyRange(1, b, 2, 100)).to.equal(3);
    expect([...host.readFile('/b')]).to.deep.equal([0, 0, 2, 3, 4]);
  });

  it('marks zeroes while reading', async () => {
    const host = createSimHost();
    const content = new Uint8Array(2048);
    content[600] = 1;
    host.writeFile('/disk', content);
    const map = new Uint8Array(4);
    await (await opened(host)).read(0, new Uint8Array(2048), { granule: 512, map });
    expect([...map]).to.deep.equal([1, 0, 1, 1]);
  });

  it('answers `unsupported` where the file system cannot, and calls all of it data without seek', async () => {
    const host = createSimHost({ unsupported: ['seek', 'punchHole', 'zeroRange', 'allocate', 'discard', 'copyRange'] });
    const file = await opened(host);
    await file.truncate(10000);
    expect(await file.seek(0)).to.deep.equal({ data: true, end: 10000 });
    expect(await codeOf(file.punchHole(0, 512))).to.equal('unsupported');
    expect(await codeOf(file.zeroRange(0, 512))).to.equal('unsupported');
    expect(await codeOf(file.allocate(0, 512, false))).to.equal('unsupported');
    expect(await codeOf(file.discard(0, 512))).to.equal('unsupported');
    expect(await codeOf(file.copyRange(0, file, 0, 512))).to.equal('unsupported');
  });

  it('runs out of space, and says how much is left', async () => {
    const host = createSimHost({ capacity: 16384 });
    const file = await opened(host);
    await file.write(0, new Uint8Array(12288));
    expect(await host.freeSpace('/disk')).to.equal(4096);
    expect(await codeOf(file.write(12288, new Uint8Array(8192)))).to.equal('no-space');
    expect(await codeOf(file.allocate(0, 20480, true))).to.equal('no-space');
    await file.punchHole(0, 8192);
    await file.write(12288, new Uint8Array(8192));
  });

  it('gives a block device a fixed size', async () => {
    const host = createSimHost();
    host.createDevice('/dev/sdz', 8192);
    const file = await host.open('/dev/sdz', { writable: true });
    expect(file.kind).to.equal('block');
    expect(await codeOf(file.truncate(4096))).to.equal('invalid-argument');
    expect(await codeOf(file.write(8000, new Uint8Array(512)))).to.equal('no-space');
    await file.write(7680, new Uint8Array(512));
  });
});

describe('simulated host: names', () => {
  it('opens as `create` says', async () => {
    const host = createSimHost();
    const open = (create?: 'exclusive' | 'truncate' | 'keep') => host.open('/d/f', { writable: true, create });
    expect(await codeOf(open())).to.equal('not-found');
    await (await open('exclusive')).write(0, new Uint8Array(5));
    expect(await codeOf(open('exclusive'))).to.equal('exists');
    await open('keep');
    expect(host.fileSize('/d/f')).to.equal(5);
    await open('truncate');
    expect(host.fileSize('/d/f')).to.equal(0);
    expect((await host.stat('/d')).kind).to.equal('directory');
  });

  it('follows symbolic links and finds their loops', async () => {
    const host = createSimHost();
    host.writeFile('/pool/base', new Uint8Array(3));
    host.symlink('/pool/link', 'base');
    host.symlink('/loop', '/loop');
    expect(await host.realPath('/pool/link')).to.equal('/pool/base');
    expect((await host.stat('/pool/link')).id).to.equal((await host.stat('/pool/base')).id);
    expect(await codeOf(host.stat('/loop'))).to.equal('loop');
    expect(await codeOf(host.realPath('/none'))).to.equal('not-found');
  });

  it('keeps an unlinked file for those who have it open', async () => {
    const host = createSimHost();
    const file = await opened(host);
    await host.unlink('/disk');
    await file.write(0, new Uint8Array([1]));
    expect(await file.size()).to.equal(1);
    expect(host.files()).to.deep.equal([]);
    expect(await codeOf(host.unlink('/disk'))).to.equal('not-found');
  });
});

describe('simulated host: handles', () => {
  it('refuses to write through a read-only handle', async () => {
    const host = createSimHost();
    host.writeFile('/disk', new Uint8Array(1));
    const file = await host.open('/disk', { writable: false });
    expect(await codeOf(file.write(0, new Uint8Array(1)))).to.equal('read-only');
    expect(await codeOf(file.truncate(0))).to.equal('read-only');
  });

  it('answers `closed` after close, and closes once', async () => {
    const file = await opened(createSimHost());
    await Promise.all([file.close(), file.close()]);
    expect(await codeOf(file.read(0, new Uint8Array(1)))).to.equal('closed');
    expect(await codeOf(file.flush())).to.equal('closed');
    expect(() => file.lock('shared', 0, 1))
      .to.throw()
      .with.property('code', 'closed');
  });

  it('refuses offsets that cannot be', async () => {
    const file = await opened(createSimHost());
    expect(await codeOf(file.read(-1, new Uint8Array(1)))).to.equal('invalid-argument');
    expect(await codeOf(file.write(0.5, new Uint8Array(1)))).to.equal('invalid-argument');
    expect(await codeOf(file.truncate(2 ** 60))).to.equal('invalid-argument');
  });

  it('close waits for what is in flight', async () => {
    const host = createSimHost({ seed: 3 });
    await host.run(async () => {
      const file = await opened(host);
      let written = false;
      const write = file.write(0, new Uint8Array(4096)).then(() => {
        written = true;
      });
      expect(file.inFlight).to.equal(1);
      await file.close();
      await null;
      expect(written).to.equal(true);
      await write;
    });
  });
});

describe('simulated host: locks', () => {
  it('shared ones get along, exclusive ones do not; one holder never conflicts with itself', async () => {
    const host = createSimHost();
    const [a, b] = [await opened(host), await opened(host)];
    expect(a.lock('shared', 100, 10)).to.equal(true);
    expect(b.lock('shared', 105, 10)).to.equal(true);
    expect(b.lock('exclusive', 105, 1)).to.equal(false);
    expect(b.lockConflicts('shared', 100, 1)).to.equal(false);
    expect(b.lockConflicts('exclusive', 109, 1)).to.equal(true);
    expect(b.lockConflicts('exclusive', 110, 1)).to.equal(false);
    expect(a.lock('exclusive', 100, 5)).to.equal(true);
    expect(b.lock('shared', 104, 1)).to.equal(false);
  });

  it('unlocks parts, and all of it at close', async () => {
    const host = createSimHost();
    const [a, b] = [await opened(host), await opened(host)];
    a.lock('exclusive', 0, 100);
    a.lock('none', 40, 20);
    expect(b.lockConflicts('shared', 40, 20)).to.equal(false);
    expect(b.lockConflicts('shared', 39, 1)).to.equal(true);
    expect(b.lockConflicts('shared', 60, 1)).to.equal(true);
    await a.close();
    expect(b.lock('exclusive', 0, 100)).to.equal(true);
  });
});

describe('simulated host: memory and codecs', () => {
  it('poisons a freed buffer and refuses a second free', () => {
    const { memory } = createSimHost();
    const buffer = memory.allocate(16);
    expect(memory.isZero(buffer)).to.equal(false);
    memory.free(buffer);
    expect([...buffer]).to.deep.equal(Array(16).fill(0xdb));
    expect(() => memory.free(buffer))
      .to.throw()
      .with.property('code', 'internal');
    expect(() => memory.free(new Uint8Array(4)))
      .to.throw()
      .with.property('code', 'internal');
    expect([memory.liveBytes, memory.peakBytes]).to.deep.equal([0, 16]);
  });

  it('refuses to free a buffer in flight, and to hand out more than its limit', async () => {
    const host = createSimHost({ seed: 1, memoryLimit: 1000 });
    await host.run(async () => {
      const file = await opened(host);
      const buffer = host.memory.allocate(512);
      const write = file.write(0, buffer);
      expect(() => host.memory.free(buffer))
        .to.throw()
        .with.property('code', 'internal');
      await write;
      host.memory.free(buffer);
      expect(() => host.memory.allocate(1001))
        .to.throw()
        .with.property('code', 'limit');
    });
  });

  it('compares and tests for zeroes', () => {
    const { memory } = createSimHost();
    const map = new Uint8Array(3);
    const bytes = new Uint8Array(1025);
    bytes[1024] = 1;
    expect(memory.zeroMap(bytes, 512, map)).to.equal(3);
    expect([...map]).to.deep.equal([1, 1, 0]);
    expect(memory.firstDifference(bytes, new Uint8Array(1025))).to.equal(1024);
    expect(memory.firstDifference(bytes, bytes.slice())).to.equal(-1);
  });

  for (const type of ['zlib', 'zstd'] as const) {
    it(`${type}: packs, unpacks with trailing bytes, says what does not fit and what is broken`, async () => {
      const { codecs } = createSimHost();
      const plain = new Uint8Array(65536).map((_, i) => i >> 7);
      const packed = new Uint8Array(65536);
      const length = await codecs.compress(type, plain, packed);
      expect(length).to.be.within(1, 2000);
      expect(await codecs.compress(type, plain, new Uint8Array(10))).to.equal(-1);
      const out = new Uint8Array(65536);
      await codecs.decompress(type, packed.subarray(0, length + 511), out);
      expect(Buffer.compare(out, plain)).to.equal(0);
      expect(await codeOf(codecs.decompress(type, packed.subarray(0, length / 2), out))).to.equal('invalid-image');
      expect(await codeOf(codecs.decompress(type, new Uint8Array(9).fill(255), out))).to.equal('invalid-image');
    });
  }

  it('lets the requests of a cipher end that is closed meanwhile, and takes none after that, as the real one', async () => {
    const cipher = createSimHost().ciphers.open({ mode: 'xts', vectors: 'plain64', key: new Uint8Array(32).fill(7) });
    const [plain, secret] = [new Uint8Array(512).fill(1), new Uint8Array(512)];
    const encrypting = cipher.encrypt(0, plain, secret);
    cipher.close();
    cipher.close();
    await encrypting;
    expect(secret.some((byte) => byte !== 0)).to.equal(true);
    const late = await cipher.encrypt(0, plain, secret).catch((error: { code: string }) => error.code);
    expect(late).to.equal('closed');
  });
});
