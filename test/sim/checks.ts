// What is checked of the files that a simulated run left.

import { findingText } from '../../src/block/finding-text.js';
import { openNode } from '../../src/block/open.js';
import type { SimHost } from '../../src/host/sim/index.js';
import type { ImageOptions } from '../../src/schema/options.js';
import { repairImage } from '../../src/workspace/check.js';
import { readNode } from '../drivers/support.js';
import { dishonestStatus } from '../support/honest-status.js';
import { Violation } from './guest.js';
import { graphOn } from './images.js';
import { decodeSectors, SECTOR } from './model.js';
import { readChain, verifyQcow2 } from './verify-qcow2.js';

function isQcow2(path: string): boolean {
  return path.endsWith('.qcow2');
}

/** All qcow2 files contradict nothing, and leak only where they may. */
export function checkFiles(host: SimHost, mayLeak: boolean): void {
  for (const path of host.files().filter(isQcow2)) {
    const report = verifyQcow2(host.readFile(path));
    if (report.errors.length > 0) throw new Violation('metadata', `${path}: ${report.errors.join('; ')}`);
    if (!mayLeak && report.leaks > 0)
      throw new Violation('leak', `${path}: ${report.leaks} clusters leak in a clean run`);
  }
}

/** Opens an image with what lies below it, runs the driver's own check, and reads it all. */
export async function readImage(host: SimHost, options: ImageOptions, mayLeak: boolean): Promise<Uint8Array> {
  const graph = await graphOn(host);
  const node = await openNode(graph, options, { readOnly: true });
  const content = new Uint8Array(node.length);
  await readNode(node, 0, content);
  const dishonest = await dishonestStatus(node);
  if (dishonest !== null) throw new Violation('content', `block status: ${dishonest}`);
  const check = node.abilities.check;
  if (check !== undefined) {
    const findings: string[] = [];
    const result = await check((finding) => findings.push(findingText(finding)));
    if (result.corruptions > 0 || result.checkErrors > 0 || (!mayLeak && result.leaks > 0)) {
      throw new Violation('metadata', `the driver's check of ${node.filename} says: ${findings.join('; ')}`);
    }
  }
  await graph.closeAll();
  return content;
}

/** Repairs the image that `options` open, as its user does after a loss of power. */
export async function repairTop(host: SimHost, options: ImageOptions): Promise<void> {
  const graph = await graphOn(host);
  const { result } = await repairImage(graph, options, 'all', {}, () => undefined);
  const { checkErrors, corruptions, leaks } = result.after;
  if (checkErrors + corruptions + leaks > 0) throw new Violation('metadata', 'a repair has left faults');
  await graph.closeAll();
}

/** The verifier reads the image and its chain as the driver did. */
export function expectVerified(host: SimHost, path: string, content: Uint8Array): void {
  const files: Uint8Array[] = [];
  let at: string | null = path;
  for (; at !== null && isQcow2(at); at = verifyQcow2(files[files.length - 1]).backingFile)
    files.push(host.readFile(at));
  const expected = readChain(files, at === null ? undefined : host.readFile(at));
  if (expected.length !== content.length) throw new Violation('content', `${path} is of ${content.length} bytes`);
  const differs = host.memory.firstDifference(content, expected);
  if (differs >= 0)
    throw new Violation('content', `${path}: the driver reads another byte at ${differs} than the verifier`);
}

/** Each sector holds one of its allowed values. Gives what they hold. */
export function expectValues(
  content: Uint8Array,
  sectors: number,
  what: string,
  allowed: (sector: number) => readonly number[],
): number[] {
  if (content.length !== sectors * SECTOR)
    throw new Violation('content', `${what}: ${content.length} bytes, not ${sectors} sectors`);
  const values = decodeSectors(content);
  values.forEach((value, sector) => {
    const list = allowed(sector);
    if (list.includes(value)) return;
    throw new Violation('content', `${what}: sector ${sector} holds ${value}, allowed: ${list.join(' ')}`);
  });
  return values;
}

/** Runs one seed. What goes wrong carries the seed; a rejection that nobody handles counts. */
export async function guarded<T>(seed: number, run: () => Promise<T>): Promise<T> {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', note);
  try {
    const result = await run();
    await new Promise((resolve) => setImmediate(resolve));
    if (unhandled.length > 0) throw new Error('a rejection that nobody handles');
    return result;
  } catch (error) {
    const violation = error instanceof Violation ? error : null;
    const text = violation?.message ?? (error as Error).stack ?? String(error);
    const also = unhandled.map((reason) => `\nnobody handles: ${(reason as Error).stack ?? reason}`).join('');
    throw new Violation(violation?.kind ?? 'unexpected', `seed ${seed}: ${text}${also}`, { cause: error });
  } finally {
    process.off('unhandledRejection', note);
  }
}
