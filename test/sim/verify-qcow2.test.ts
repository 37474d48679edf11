// The verifier against images that qemu-img made: no complaint about good ones, and every planted fault found.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { readChain, readClusters, verifyQcow2 } from './verify-qcow2.js';

describe('qcow2 verifier of the simulation', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-verify-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  function make(options: string, commands: string[], backing?: string): Uint8Array {
    const path = join(folder, 'image.qcow2');
    const link = backing === undefined ? [] : ['-b', backing, '-F', 'raw'];
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', options, ...link, path, '300000']);
    execFileSync('qemu-io', ['-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), path]);
    return readFileSync(path);
  }

  for (const options of [
    'cluster_size=512',
    'cluster_size=512,compat=0.10',
    'cluster_size=4096,refcount_bits=1',
    'cluster_size=1024,refcount_bits=64',
    'cluster_size=4096,compression_type=zstd',
    'cluster_size=65536',
  ]) {
    it(`accepts qemu's image (${options}) and reads what is in it`, () => {
      const base = join(folder, 'base.raw');
      writeFileSync(base, new Uint8Array(100000).fill(9));
      const compressible = options.includes('refcount_bits=1') ? [] : ['write -c -P 7 131072 65536'];
      const file = make(options, ['write -P 5 1000 3000', 'write -z 65536 65536', ...compressible], base);
      const report = verifyQcow2(file);
      expect(report.errors).to.deep.equal([]);
      expect(report.leaks).to.equal(0);
      expect(report.backingFile).to.equal(base);
      const content = readChain([file], readFileSync(base));
      const at = (offset: number) => content[offset];
      expect([at(0), at(1000), at(3999), at(4000), at(65536), at(100001), at(131072)]).to.deep.equal([
        9,
        5,
        5,
        9,
        0,
        0,
        compressible.length > 0 ? 7 : 0,
      ]);
    });
  }

  it("accepts qemu's images with a data file, reads them, and finds what is wrong in them", () => {
    const dataPath = join(folder, 'data');
    for (const options of [
      'cluster_size=4096',
      'data_file_raw=on',
      'extended_l2=on',
      'extended_l2=on,data_file_raw=on',
    ]) {
      rmSync(dataPath, { force: true });
      const commands = ['write -P 5 1000 3000', 'write -P 6 131072 70000', 'write -z 65536 65536'];
      const file = make(`data_file=${dataPath},${options}`, commands);
      const data = readFileSync(dataPath);
      const report = verifyQcow2(file, data);
      expect([report.errors, report.leaks], options).to.deep.equal([[], 0]);
      const content = readClusters(file, report, report, new Uint8Array(0));
      const expected = new Uint8Array(report.size).fill(5, 1000, 4000).fill(6, 131072, 201072);
      expect(Buffer.compare(content, expected), options).to.equal(0);
      if (options.includes('raw')) expect(Buffer.compare(data.subarray(0, report.size), expected), options).to.equal(0);
      expect(verifyQcow2(file).errors.join(), options).to.include('there is a data file');
      const view = new DataView(file.buffer, file.byteOffset);
      const l2 = Number(view.getBigUint64(Number(view.getBigUint64(40))) & 0x00fffffffffffe00n);
      const broken = (entry: bigint): string => {
        const old = view.getBigUint64(l2);
        view.setBigUint64(l2, entry);
        const found = verifyQcow2(file, data).errors.join();
        view.setBigUint64(l2, old);
        return found;
      };
      const elsewhere = BigInt(2 * report.clusterSize);
      expect(broken(1n << 62n), options).to.include('is compressed, in a data file');
      expect(broken(elsewhere), options).to.include('is not COPIED');
      if (options.includes('raw')) expect(broken((1n << 63n) | elsewhere), options).to.include('in a raw file');
      const used = BigInt(131072 - (131072 % report.clusterSize));
      expect(broken((1n << 63n) | used), options).to.include('is used twice');
    }
  });

  it('finds what is wrong', () => {
    const good = make('cluster_size=4096', ['write -P 1 0 8192']);
    const view = (file: Uint8Array) => new DataView(file.buffer, file.byteOffset);
    const l1 = Number(view(good).getBigUint64(40));
    const l2 = Number(view(good).getBigUint64(l1) & 0x00fffffffffffe00n);
    const table = Number(view(good).getBigUint64(48));
    const block = Number(view(good).getBigUint64(table));
    const data = Number(view(good).getBigUint64(l2) & 0x00fffffffffffe00n);
    const broken = (change: (view: DataView) => void, length = good.length) => {
      const file = new Uint8Array(length);
      file.set(good.subarray(0, length));
      change(view(file));
      return verifyQcow2(file);
    };
    const refcountAt = block + (data / 4096) * 2;
    expect(broken((v) => v.setUint16(refcountAt, 0)).errors.join()).to.include('refcount 0, references 1');
    expect(broken((v) => v.setUint16(refcountAt, 2)).errors.join()).to.include('COPIED is set, the refcount is 2');
    expect(broken((v) => v.setBigUint64(l2, 0n))).to.deep.include({ errors: [], leaks: 1 });
    expect(broken((v) => v.setBigUint64(l2 + 8, v.getBigUint64(l2))).errors.join()).to.include('as data and as data');
    expect(broken((v) => v.setBigUint64(l2, v.getBigUint64(l1))).errors.join()).to.match(/as L2 table and as data/);
    expect(broken((v) => v.setBigUint64(l2, 1n << 63n)).errors.join()).to.include('flags but no offset');
    expect(broken(() => {}, data).errors.join()).to.include('behind the end of the file');
    expect(broken((v) => v.setBigUint64(l1, BigInt(l2 + 512))).errors.join()).to.include('is not aligned');
    expect(broken((v) => v.setBigUint64(72, 2n)).errors.join()).to.include('incompatible features');
    expect(verifyQcow2(new Uint8Array(100)).errors).to.deep.equal(['no qcow2 magic']);
  });
});
