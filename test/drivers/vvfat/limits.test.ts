// What is read is bounded: few long names of folders make many long paths, which are all held in memory.

import { expect } from 'chai';
import { geometryOf } from '../../../src/drivers/protocols/vvfat/geometry.js';
import { layOut, type Region } from '../../../src/drivers/protocols/vvfat/layout.js';
import { MAX_FILES, MAX_PATHS_BYTES, PathCount } from '../../../src/drivers/protocols/vvfat/limits.js';
import { ShortNames } from '../../../src/drivers/protocols/vvfat/names.js';
import { readFileSystem } from '../../../src/drivers/protocols/vvfat/reader.js';
import { type ScannedFolder, scanFolder } from '../../../src/drivers/protocols/vvfat/scan.js';
import type { FolderEntry, HostFolder } from '../../../src/host/host.js';
import { failureOf } from '../support.js';

const DEPTH = 100;
const LONG = 'n'.repeat(255);

const entry = (name: string, kind: FolderEntry['kind']): FolderEntry => {
  return { name, kind, size: 0, id: '1:1', permissions: 0o644, mtimeMs: 0, ctimeMs: 0, atimeMs: 0 };
};

/** Folders that lie in each other, and many files in the innermost one. */
const names = (depth: number, files: number): FolderEntry[] =>
  depth < DEPTH ? [entry(LONG, 'folder')] : Array.from({ length: files }, (_, index) => entry(`FILE${index}`, 'file'));

/** Files whose paths take half of what is allowed. */
const HALF = MAX_PATHS_BYTES / 2 / (DEPTH * (LONG.length + 8));

describe('vvfat: limits', () => {
  it('count files, and the bytes of their paths', () => {
    const many = new PathCount();
    for (let index = 0; index < MAX_FILES; index++) expect(many.add(['f'])).to.equal(null);
    expect(many.add(['f'])).to.match(/more than 262144 files/);
    const long = new PathCount();
    const path = new Array<string>(100).fill(LONG);
    for (let bytes = 100 * 263; bytes <= MAX_PATHS_BYTES; bytes += 100 * 263) expect(long.add(path)).to.equal(null);
    expect(long.add(path)).to.match(/paths of its files take more than/);
  });

  for (const [files, what] of [
    [Math.floor(HALF), null],
    [Math.floor(3 * HALF), /paths of its files take more than/],
  ] as const) {
    const outcome = what === null ? 'are taken' : 'are refused';
    it(`hold for a folder of the host: ${files} long paths ${outcome}`, async () => {
      const folder = {
        path: '/folder',
        entries: async (path: readonly string[]) => names(path.length, files),
        info: async () => entry('.', 'folder'),
      } as unknown as HostFolder;
      const scan = scanFolder(folder, geometryOf(16, false), true);
      if (what === null) expect((await scan).folders).to.have.length(DEPTH + 1);
      else {
        const error = await failureOf(scan);
        expect([error.code, what.test(error.message)]).to.deep.equal(['limit', true], error.message);
      }
    });

    it(`hold for what a machine has left: ${files} long paths ${outcome}`, async () => {
      const found = await readFileSystem(geometryOf(16, false), readerOf(diskWith(files)));
      if (what !== null) expect(found).to.match(what);
      else expect(found).to.be.an('object').with.property('files').of.length(files);
    });
  }
});

/** The disk of a folder that is not looked through: none is too large. */
function diskWith(files: number): Region[] {
  const geometry = geometryOf(16, false);
  const folders: ScannedFolder[] = [];
  let parent: ScannedFolder | null = null;
  let used = 0;
  const take = (bytes: number) => {
    const count = Math.ceil(bytes / (geometry.clusterSectors * 512));
    used += count;
    return { first: 2 + used - count, count };
  };
  for (let depth = 0; depth <= DEPTH; depth++) {
    const path = new Array<string>(depth).fill(LONG);
    const bytes = depth === DEPTH ? (files + 1) * 64 : 1024;
    const folder: ScannedFolder = {
      path,
      entry: entry(LONG, 'folder'),
      shortName: 'NNNNNN~1   ',
      run: depth === 0 ? null : take(bytes),
      parent,
      children: [],
    };
    parent?.children.push(folder);
    folders.push(folder);
    parent = folder;
  }
  const short = new ShortNames();
  for (const one of names(DEPTH, files)) {
    folders[DEPTH].children.push({ path: [one.name], entry: one, shortName: short.take(one.name)!, run: null });
  }
  return layOut(geometry, { root: folders[0], folders, files: [], used, left: [] }, new Uint8Array(11).fill(0x20));
}

function readerOf(regions: readonly Region[]) {
  return async (offset: number, buffer: Uint8Array) => {
    buffer.fill(0);
    for (const { start, content } of regions) {
      const bytes = content as Uint8Array;
      if (start >= offset + buffer.length || start + bytes.length <= offset) continue;
      const from = Math.max(start, offset);
      buffer.set(bytes.subarray(from - start, offset + buffer.length - start), from - offset);
    }
  };
}
