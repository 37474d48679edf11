// What the interop tests share: a real host, a scratch folder, one image read as a guest sees it.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { openRealHost, type RealHost } from '../../src/host/real/index.js';
import { readNode } from '../drivers/support.js';
import { seedOf } from '../support/sample.js';

registerDrivers();

/** Where the interop tests' seeds begin. */
export const FIRST_SEED = 20261120;
export const SEED = seedOf(FIRST_SEED);

/** A host and a scratch folder for one `describe`. */
export interface Bench {
  host: RealHost;
  folder: string;
}

export function useBench(name: string): Bench {
  const bench = {} as Bench;
  before(async () => {
    bench.host = await openRealHost();
    bench.folder = mkdtempSync(join(tmpdir(), `diskwright-${name}-`));
  });
  after(async () => {
    await bench.host.close();
    rmSync(bench.folder, { recursive: true, force: true });
  });
  return bench;
}

/** The whole guest content of an image, through us. */
export async function readImage(bench: Bench, path: string, format?: string): Promise<Buffer> {
  const graph = new Graph(bench.host);
  try {
    const node = await openNode(graph, path, { format, readOnly: true });
    const content = Buffer.alloc(node.length);
    const step = 1 << 20;
    for (let at = 0; at < node.length; at += step) {
      await readNode(node, at, content.subarray(at, Math.min(node.length, at + step)));
    }
    return content;
  } finally {
    await graph.closeAll();
  }
}

/** The whole guest content of an image, through qemu-img. */
export function referenceContent(bench: Bench, path: string, format: string): Buffer {
  const raw = join(bench.folder, 'reference.raw');
  qemuImg('convert', '-f', format, '-O', 'raw', path, raw);
  return readFileSync(raw);
}

export function qemuImg(...words: string[]): string {
  return execFileSync('qemu-img', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What `qemu-img check` says of a qcow2 image: exit code (0 clean, 2 errors, 3 leaks) and text. */
export function qemuCheck(path: string): { status: number | null; text: string } {
  const { status, stdout, stderr } = spawnSync('qemu-img', ['check', '-f', 'qcow2', path], { encoding: 'utf8' });
  return { status, text: stdout + stderr };
}

/** First differing offset of two buffers, for a message; -1 when equal. */
export function differenceAt(a: Buffer, b: Buffer): number {
  if (a.equals(b)) return -1;
  const end = Math.min(a.length, b.length);
  for (let at = 0; at < end; at++) if (a[at] !== b[at]) return at;
  return end;
}
