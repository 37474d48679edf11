// The command is killed with SIGKILL at random moments of each job. Afterwards every image passes `qemu-img check` with leaks at
// most, and the chain reads as before: stream and commit move data, they never change what the top reads as.

import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { seeded } from '../interop/chain-maker.js';
import { requirePeer } from '../support/peers.js';
import { repeats, seedOf, timeLimit } from '../support/sample.js';

const CLI = fileURLToPath(new URL('../../dist/cli.cjs', import.meta.url));
const MOMENTS = repeats(12, 100);
const SEED = seedOf(20261120);
const IMAGES = ['base', 'mid', 'top'];

const JOBS: Record<string, string[]> = {
  stream: ['stream', 'top'],
  commit: ['commit', '-f', 'qcow2', 'top'],
  mirror: ['mirror', '--sync', 'full', '--target', 'target', 'top'],
  backup: ['backup', '--sync', 'full', '--target', 'target', 'top'],
};

/** Starts the command; resolves with true when it ended by itself before `killAfterMs`. */
function runAndKill(words: string[], cwd: string, killAfterMs: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...words], { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      clearTimeout(timer);
      if (signal === null && code !== 0) reject(new Error(`${words.join(' ')}: exit ${code}`));
      else resolve(signal === null);
    });
  });
}

describe('killed jobs', function () {
  this.timeout(timeLimit(600_000));
  let folder: string;
  const origin = () => join(folder, 'origin');
  const work = () => join(folder, 'work');
  const reference = () => join(folder, 'reference.raw');

  before(function () {
    requirePeer(this, 'qemu-img');
    console.log(`      seed ${SEED}, ${MOMENTS} moments a job`);
    folder = mkdtempSync(join(tmpdir(), 'diskwright-kill-'));
    mkdirSync(origin());
    const random = seeded(SEED);
    IMAGES.forEach((name, level) => {
      const backing = level === 0 ? [] : ['-b', IMAGES[level - 1], '-F', 'qcow2'];
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', ...backing, join(origin(), name), '64M'], {
        cwd: origin(),
      });
      const writes = Array.from({ length: 60 }, () => {
        const offset = random(63 * 16) * 65536;
        return `write -q -P ${1 + random(250)} ${offset + 512 * random(100)} ${512 * (1 + random(1200))}`;
      });
      execFileSync('qemu-io', ['-f', 'qcow2', ...writes.flatMap((one) => ['-c', one]), join(origin(), name)]);
    });
    execFileSync('qemu-img', ['convert', '-O', 'raw', join(origin(), 'top'), reference()]);
  });

  after(() => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  function restore(): void {
    rmSync(work(), { recursive: true, force: true });
    mkdirSync(work());
    for (const name of IMAGES) copyFileSync(join(origin(), name), join(work(), name));
  }

  /** Exit 0 is clean, 3 is leaks; a target that was not yet made, or not yet a qcow2 image, is no image. */
  function check(name: string): void {
    const { status, stdout, stderr } = spawnSync('qemu-img', ['check', '-f', 'qcow2', join(work(), name)], {
      encoding: 'utf8',
    });
    if (name === 'target' && status === 1 && /No such file|not in qcow2 format/.test(stderr)) return;
    expect(status, `${name}: ${stdout}${stderr}`).to.be.oneOf([0, 3]);
  }

  for (const [job, words] of Object.entries(JOBS)) {
    it(`${job}: images stay valid and the chain reads the same`, async () => {
      const random = seeded(SEED + job.length * 1000);
      // At full speed, and slowed down, so that most of the moments lie within the copying.
      const variants: { words: string[]; wholeMs: number }[] = [];
      for (const speed of [[], [], ['--speed=64M']]) {
        restore();
        const before = performance.now();
        expect(await runAndKill([...words, ...speed], work(), 60_000)).to.equal(true);
        variants.push({ words: [...words, ...speed], wholeMs: performance.now() - before });
      }
      variants.shift();
      let killed = 0;
      for (let moment = 0; moment < MOMENTS; moment++) {
        restore();
        const variant = variants[moment % variants.length];
        const killAfterMs = variant.wholeMs * (0.2 + (0.9 * random(1000)) / 1000);
        if (!(await runAndKill(variant.words, work(), killAfterMs))) killed++;
        for (const name of IMAGES) check(name);
        if (job === 'mirror' || job === 'backup') check('target');
        const compare = spawnSync(
          'qemu-img',
          ['compare', '-f', 'raw', '-F', 'qcow2', reference(), join(work(), 'top')],
          { encoding: 'utf8' },
        );
        expect(compare.status, `moment ${moment}, ${killAfterMs} ms: ${compare.stdout}${compare.stderr}`).to.equal(0);
      }
      console.log(`        killed ${killed} of ${MOMENTS} before the end`);
      expect(killed).to.be.above(MOMENTS / 4);
    });
  }
});
