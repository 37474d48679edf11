// Two daemons with the same images, that get the same commands one by one: the reference and ours.

import { mkdirSync } from 'node:fs';
import type { Workshop } from '../../../support/cli.js';
import { type Json, StorageDaemon } from '../../../support/qmp.js';
import { filtered } from '../runner.js';

const SIZE = String(4 << 20);
/** Far more than a command takes, or a job on such small images. */
const PATIENCE_MS = 10_000;

interface Side {
  folder: string;
  daemon: StorageDaemon;
}

export class Pair {
  readonly #sides: readonly [Side, Side];

  private constructor(theirs: Side, ours: Side) {
    this.#sides = [theirs, ours];
  }

  static async start(shop: Workshop, name: string): Promise<Pair> {
    const theirs = await start(shop, shop.path(`${name}.theirs`), ['qemu-storage-daemon']);
    try {
      return new Pair(theirs, await start(shop, shop.path(`${name}.ours`), [process.execPath, shop.bundle, 'daemon']));
    } catch (error) {
      theirs.daemon.kill();
      throw error;
    }
  }

  async theirSchema(): Promise<unknown> {
    return this.#sides[0].daemon.execute('query-qmp-schema');
  }

  /** Both answers, theirs first, without what may differ. Null where the reference itself has crashed, or waits. */
  async ask(message: Json): Promise<[string, string] | null> {
    const [theirs, ours] = this.#sides;
    // First the reference: it ends at some commands, and a character device that waits for a client makes it wait.
    const answer = await ask(theirs, message).catch((error: Error) => {
      if (/^(the daemon ended|no answer)/.test(error.message)) return null;
      throw error;
    });
    return answer === null ? null : [answer, await ask(ours, message)];
  }

  /** Ends what the last command began: jobs are awaited, those that would not end by themselves are cancelled. */
  async settle(): Promise<void> {
    await Promise.all(this.#sides.map(({ daemon }) => settled(daemon)));
  }

  end(): void {
    for (const { daemon } of this.#sides) daemon.kill();
  }
}

async function ask({ daemon, folder }: Side, message: Json): Promise<string> {
  const placed = JSON.parse(JSON.stringify(message).replaceAll('DIR', folder)) as Json;
  const answer = await within(daemon.ask(placed), message);
  // How long image files have become is each program's own affair.
  const text = JSON.stringify(filtered(answer))
    .replace(/"(virtual-size|wr_highest_offset)":\d+/g, '"$1":0')
    // When a snapshot was made; QEMU's storage daemon takes the time of day for the machine's clock, too.
    .replace(/"(date|vm-clock)-(n?sec)":\d+/g, '"$1-$2":0')
    // A threshold beyond the largest number is shown as that; as a negative one there.
    .replace(/"write_threshold":-\d+/g, `"write_threshold":${Number.MAX_SAFE_INTEGER}`);
  return text.replaceAll(folder, 'DIR');
}

async function settled(daemon: StorageDaemon): Promise<void> {
  for (;;) {
    const jobs = (await within(daemon.execute('query-jobs'), { execute: 'query-jobs' })) as Json[];
    if (jobs.length === 0) return;
    for (const { id, status } of jobs) {
      const verb = status === 'concluded' ? 'job-dismiss' : 'job-cancel';
      // It may have ended meanwhile, or be ending.
      await daemon.ask({ execute: verb, arguments: { id } });
    }
  }
}

async function within<T>(work: Promise<T>, message: Json): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer to ${JSON.stringify(message)}`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function start(shop: Workshop, folder: string, program: readonly string[]): Promise<Side> {
  mkdirSync(folder);
  const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
  make('-f', 'qcow2', `${folder}/base.qcow2`, SIZE);
  shop.must('qemu-io', '-c', 'write -P 1 0 1M', `${folder}/base.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/base.qcow2`, '-F', 'qcow2', `${folder}/mid.qcow2`);
  make('-f', 'qcow2', '-b', `${folder}/mid.qcow2`, '-F', 'qcow2', `${folder}/top.qcow2`);
  make('-f', 'raw', `${folder}/raw.raw`, SIZE);
  make('-f', 'raw', `${folder}/target.raw`, SIZE);
  const file = (name: string) => ({ driver: 'file', filename: `${folder}/${name}` });
  const nodes = [
    { driver: 'qcow2', 'node-name': 'base', file: file('base.qcow2') },
    { driver: 'qcow2', 'node-name': 'mid', file: file('mid.qcow2'), backing: 'base' },
    { driver: 'file', 'node-name': 'top-file', filename: `${folder}/top.qcow2` },
    { driver: 'qcow2', 'node-name': 'top', file: 'top-file', backing: 'mid' },
    { driver: 'raw', 'node-name': 'raw', file: file('raw.raw') },
    { driver: 'null-co', 'node-name': 'null', size: 4 << 20, 'read-zeroes': true },
  ];
  const words = nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]);
  const daemon = await StorageDaemon.start(`${folder}/qmp`, words, program);
  await daemon.execute('block-dirty-bitmap-add', { node: 'top', name: 'b0' });
  return { folder, daemon };
}
