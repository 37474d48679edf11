// Locks of image files between processes: whoever holds an image and whoever comes, QEMU's tools or ours, the same is refused, in the same words.
//
//   holder  theirs  ours  theirs  ours         each pair in a folder of its own, with the same images
//   comer   theirs  theirs  ours  ours         all four say what the first says

import { type ChildProcess, spawn } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { DAY, SOAK } from '../../support/sample.js';
import { StandingProgram } from '../img/standing-program.js';
import { COMERS, HOLDERS } from './table.js';

/** A short run takes one of so many parts of the holders, by the day. */
const PARTS = 5;
const SIDES = ['theirs', 'ours'] as const;
type Side = (typeof SIDES)[number];

const IMAGES: readonly (readonly [program: string, ...words: string[]])[] = [
  ['qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2', '4M'],
  ['qemu-io', '-f', 'qcow2', '-c', 'write -P 1 0 128k', 'a.qcow2'],
  ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'a.qcow2', '-F', 'qcow2', 'b.qcow2'],
  ['qemu-io', '-f', 'qcow2', '-c', 'write -P 2 64k 128k', 'b.qcow2'],
  ['qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'b.qcow2', '-F', 'qcow2', 'c.qcow2'],
  ['qemu-img', 'create', '-q', '-f', 'qcow2', 'd.qcow2', '4M'],
  ['qemu-img', 'create', '-q', '-f', 'raw', 'a.raw', '1M'],
];

describe('locks between processes', function () {
  this.timeout(120_000);
  let shop: Workshop;
  const standing = new Map<string, StandingProgram>();

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io', 'qemu-storage-daemon']) requirePeer(this, peer);
    shop = await Workshop.open();
    mkdirSync(shop.path('images'));
    for (const [program, ...words] of IMAGES) shop.must('sh', '-c', 'cd images && exec "$@"', 'sh', program, ...words);
    for (const name of ['qemu-img', 'qemu-io']) standing.set(name, new StandingProgram(name));
  });
  after(async () => {
    for (const program of standing.values()) await program.end();
    shop?.remove();
  });

  HOLDERS.forEach((holder, at) => {
    if (!SOAK && at % PARTS !== DAY % PARTS) return;
    it(holder, async () => {
      const [truth, ...others] = await Promise.all(
        SIDES.flatMap((held) => SIDES.map((come) => outcomes(holder, held, come, at))),
      );
      const wrong = COMERS.filter((comer) => others.some((other) => other[comer] !== truth[comer]));
      const all = [truth, ...others].map((said) => Object.fromEntries(wrong.map((comer) => [comer, said[comer]])));
      expect(all, 'theirs beside theirs, and the three others').to.deep.equal(all.map(() => all[0]));
    });
  });

  /** What each comer says, `held` and `come` being those of the holder and of the comers. */
  async function outcomes(holder: string, held: Side, come: Side, at: number): Promise<Record<string, string>> {
    const folder = shop.path(`${at}-${held}-${come}`);
    cpSync(shop.path('images'), folder, { recursive: true });
    const process = await hold(holder, held, folder);
    try {
      const said: Record<string, string> = {};
      for (const comer of COMERS) said[comer] = await comes(comer, come, folder);
      return said;
    } finally {
      await end(process);
    }
  }

  /** Resolves when the holder has opened its images. */
  async function hold(line: string, side: Side, folder: string): Promise<ChildProcess> {
    const [kind, ...words] = line.split(' ');
    const name = kind === 'io' ? 'qemu-io' : 'qemu-storage-daemon';
    // It speaks first when all is open, and ends with its input.
    if (kind === 'daemon') words.push('--chardev', 'stdio,id=m', '--monitor', 'chardev=m');
    const started =
      side === 'theirs'
        ? spawn(name, words, { cwd: folder })
        : spawn(process.execPath, [shop.linked(name), ...words], { cwd: folder });
    let errors = '';
    started.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    await new Promise<void>((resolve, reject) => {
      started.stdout.once('data', () => resolve());
      started.once('exit', (code) => reject(new Error(`${side}: ${line} ended with ${code}: ${errors}`)));
    });
    return started;
  }

  async function end(held: ChildProcess): Promise<void> {
    const exit = new Promise((resolve) => held.once('exit', resolve));
    held.kill();
    await exit;
  }

  async function comes(line: string, side: Side, folder: string): Promise<string> {
    const isIo = line.startsWith('io ');
    const [before, ...commands] = line.split(' :');
    const words = [...before.split(' ').slice(isIo ? 1 : 0)];
    const name = isIo ? 'qemu-io' : 'qemu-img';
    if (isIo) words.splice(0, 0, ...commands.flatMap((command) => ['-c', command]));
    const { code, stdout, stderr } =
      side === 'ours' ? await standing.get(name)!.run(words, folder) : shop.runIn(folder, name, ...words);
    return `${code} ${comparable(stdout)}${comparable(stderr)}`;
  }
});

/** Without what is ours alone (who holds the image), places, times and dates. */
function comparable(text: string): string {
  return text
    .replace(/^It is held by process .*\n/gm, '')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
    .replace(/^Run completed in [\d.]+ seconds\.$/gm, 'Run completed.')
    .replace(/^disk size: .*$/gm, 'disk size: X')
    .replace(/^Image end offset: \d+$/gm, 'Image end offset: X')
    .replace(/"offset": \d+/g, '"offset": X');
}
