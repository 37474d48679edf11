// killed.ts FOLDER DISK N: opens the folder as a floppy, writes what DISK has, and flushes; this process ends by SIGKILL before the N-th call that changes something in the
// folder. What was written to new files and not flushed is lost before, as in a power cut.

import { readdirSync, readFileSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { Graph } from '../../../src/block/graph.js';
import { openNode } from '../../../src/block/open.js';
import { PERM_ALL } from '../../../src/block/types.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import type { HostFile } from '../../../src/host/host.js';
import { openRealHost } from '../../../src/host/real/index.js';
import { linkTo } from '../support.js';

const [dir, disk, last] = process.argv.slice(2);
const LOOKS: ReadonlySet<string> = new Set(['info', 'entries', 'openFile', 'checkWritable', 'close']);
let left = Number.POSITIVE_INFINITY;
const unflushed = new Set<string>();

function loseUnflushed(folder: string): void {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) loseUnflushed(path);
    else if (unflushed.has(String(statSync(path).ino))) truncateSync(path, 0);
  }
}

function step(): void {
  if (--left > 0) return;
  loseUnflushed(dir);
  process.kill(process.pid, 'SIGKILL');
}

async function watchedFile(file: HostFile): Promise<HostFile> {
  const inode = (await file.info()).id.split(':')[1];
  return new Proxy(file, {
    get: (_target, name) => {
      const own: unknown = Reflect.get(file, name);
      if (typeof own !== 'function') return own;
      if (!['write', 'flush', 'truncate', 'close'].includes(String(name))) return own.bind(file) as unknown;
      return async (...args: unknown[]) => {
        step();
        if (name === 'write' || name === 'truncate') unflushed.add(inode);
        await Reflect.apply(own, file, args);
        if (name === 'flush') unflushed.delete(inode);
      };
    },
  });
}

const host = openRealHost();
registerDrivers();
const open = host.folders.open.bind(host.folders);
host.folders.open = async (path) => {
  const folder = await open(path);
  return new Proxy(folder, {
    get: (_target, name) => {
      const own: unknown = Reflect.get(folder, name);
      if (typeof own !== 'function') return own;
      return async (...args: unknown[]) => {
        if (!LOOKS.has(String(name))) step();
        const result: unknown = await Reflect.apply(own, folder, args);
        return name === 'createFile' ? watchedFile(result as HostFile) : result;
      };
    },
  });
};
const graph = new Graph(host, { warn: () => undefined });
const node = await openNode(graph, { driver: 'vvfat', dir, floppy: true, rw: true, 'read-only': false });
linkTo(node, PERM_ALL);
const now = readFileSync(disk);
for (let at = 0; at < now.length; at += 512) {
  const old = new Uint8Array(512);
  await node.read(at, old);
  const sector = now.subarray(at, at + 512);
  if (!sector.equals(old)) await node.write(at, Uint8Array.from(sector));
}
left = Number(last);
await node.flush();
