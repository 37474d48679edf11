// QEMU's tools as one side of the matrix. Bitmaps are asked of one storage daemon for all images.

import { readFile, rm } from 'node:fs/promises';
import type { StorageDaemon } from '../../support/qmp.js';
import {
  bitmapWords,
  creationWords,
  type MatrixImage,
  openingWords,
  run,
  SECRET,
  SECRET_ID,
  type Side,
} from './side.js';
import type { Step } from './steps.js';

interface CheckReport {
  'check-errors': number;
  corruptions?: number;
  leaks?: number;
}

export class Theirs implements Side {
  readonly #daemon: StorageDaemon;
  #nodes = 0;

  /** `daemon` knows the secret. */
  constructor(daemon: StorageDaemon) {
    this.#daemon = daemon;
  }

  async make(image: MatrixImage): Promise<void> {
    const options = creationWords(image);
    await run('qemu-img', ['create', '-q', ...SECRET, '-f', 'qcow2', '-o', options, image.path, `${image.shape.size}`]);
  }

  async change(image: MatrixImage, steps: readonly Step[]): Promise<void> {
    for (const part of apart(steps)) {
      const commands = part.flatMap((step) => ['-c', commandOf(step)]);
      const said = await run('qemu-io', [...SECRET, '--image-opts', ...commands, openingWords(image)]);
      if (/fail|error/i.test(said)) throw new Error(`qemu-io: ${said}`);
    }
  }

  async content(image: MatrixImage, snapshot?: string): Promise<Buffer> {
    const raw = `${image.path}.theirs`;
    const of = snapshot === undefined ? [] : ['-l', `snapshot.name=${snapshot}`];
    await run('qemu-img', ['convert', ...SECRET, '--image-opts', ...of, '-O', 'raw', openingWords(image), raw]);
    const content = await readFile(raw);
    await rm(raw);
    return content;
  }

  async check(image: MatrixImage): Promise<{ faults: number; leaks: number }> {
    const words = ['check', ...SECRET, '--image-opts', '--output=json', openingWords(image)];
    const report = JSON.parse(await run('qemu-img', words, [0, 2, 3])) as CheckReport;
    return { faults: report['check-errors'] + (report.corruptions ?? 0), leaks: report.leaks ?? 0 };
  }

  async map(image: MatrixImage): Promise<object[]> {
    return JSON.parse(await run('qemu-img', ['map', ...SECRET, '--image-opts', '--output=json', openingWords(image)]));
  }

  async snapshots(image: MatrixImage) {
    const { snapshots = [] } = JSON.parse(
      await run('qemu-img', ['info', ...SECRET, '--image-opts', '--output=json', openingWords(image)]),
    );
    return (snapshots as { id: string; name: string }[]).map(({ id, name }) => ({ id, name }));
  }

  takeSnapshot(image: MatrixImage, name: string): Promise<void> {
    return this.#snapshot(image, '-c', name);
  }

  applySnapshot(image: MatrixImage, name: string): Promise<void> {
    return this.#snapshot(image, '-a', name);
  }

  deleteSnapshot(image: MatrixImage, name: string): Promise<void> {
    return this.#snapshot(image, '-d', name);
  }

  async #snapshot(image: MatrixImage, verb: string, name: string): Promise<void> {
    await run('qemu-img', ['snapshot', ...SECRET, '--image-opts', verb, name, openingWords(image)]);
  }

  async workBitmap(image: MatrixImage, name: string, actions: readonly string[]): Promise<void> {
    await run('qemu-img', bitmapWords(image, name, actions));
  }

  async bitmapDigest(image: MatrixImage, name: string): Promise<string> {
    const encrypt = image.shape.encryption === 'none' ? {} : { encrypt: { format: 'luks', 'key-secret': SECRET_ID } };
    const file = { driver: 'file', filename: image.path };
    const node = `digest${this.#nodes++}`;
    await this.#daemon.execute('blockdev-add', {
      ...{ driver: 'qcow2', 'node-name': node, 'read-only': true, file },
      ...encrypt,
    });
    try {
      const answer = await this.#daemon.execute('x-debug-block-dirty-bitmap-sha256', { node, name });
      return (answer as { sha256: string }).sha256;
    } finally {
      await this.#daemon.execute('blockdev-del', { 'node-name': node });
    }
  }
}

/**
 * The steps of each process. QEMU 7.2 keeps the place behind the last compressed cluster for the next one, even when that cluster was written over
 * and its space given to other data meanwhile, which is damaged then: no compressed cluster follows an ordinary write in one process.
 */
function apart(steps: readonly Step[]): Step[][] {
  const parts: Step[][] = [];
  for (const [i, step] of steps.entries()) {
    if (i === 0 || (step.kind === 'compressed' && steps[i - 1].kind !== 'compressed')) parts.push([]);
    parts[parts.length - 1].push(step);
  }
  return parts;
}

function commandOf({ kind, offset, length, value }: Step): string {
  if (kind === 'zero') return `write -q -z ${offset} ${length}`;
  if (kind === 'unmap') return `write -q -zu ${offset} ${length}`;
  return `write -q ${kind === 'compressed' ? '-c ' : ''}-P ${value} ${offset} ${length}`;
}
