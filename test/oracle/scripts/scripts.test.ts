// Shell scripts that know only qemu-img and qemu-io, run with QEMU's tools and with ours under their names: they print the same, and leave the same images.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { DAY, SOAK } from '../../support/sample.js';
import { noteSaid } from '../../support/unexpected.js';

/** Images that are there before, and the arguments behind the folder. */
const SCRIPTS: Readonly<Record<string, { before: string; args: readonly string[] }>> = {
  'nightly-rotation': {
    before:
      'mkdir archive; qemu-img create -q -f qcow2 a.qcow2 8M; qemu-img create -q -f qcow2 -o cluster_size=4k b.qcow2 6M',
    args: ['1', '2', '3', '4'],
  },
  'golden-image': { before: '', args: ['4'] },
  'incremental-backup': { before: '', args: ['4'] },
};

describe('scripts that were written for qemu-img and qemu-io', function () {
  this.timeout(120_000);
  let shop: Workshop;
  let shims: string;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shims = shop.path('shims');
    const { code, stderr } = shop.ours('shims', '-q', shims);
    expect(stderr).to.equal('');
    expect(code).to.equal(0);
  });
  after(() => shop?.remove());

  Object.entries(SCRIPTS).forEach(([name, { before, args }], at) => {
    // Each takes some hundred processes.
    if (!SOAK && at !== DAY % Object.keys(SCRIPTS).length) return;
    it(name, () => {
      const [theirs, ours] = ['theirs', 'ours'].map((side) => {
        const folder = shop.path(`${name}-${side}`);
        mkdirSync(folder);
        shop.must('sh', '-c', `cd ${folder} && ${before || true}`);
        return { folder, said: runScript(name, side === 'ours', [folder, ...args]) };
      });
      expect(ours.said).to.equal(theirs.said);
      expect(theirs.said).to.match(/\nexit code 0\n$/);
      const names = readdirSync(theirs.folder, { recursive: true, encoding: 'utf8' }).sort();
      expect(readdirSync(ours.folder, { recursive: true, encoding: 'utf8' }).sort()).to.deep.equal(names);
      for (const file of names) {
        const [other, mine] = [theirs, ours].map(({ folder }) => join(folder, file));
        if (!statSync(mine).isFile()) continue;
        expect(shop.qemuImg('compare', mine, other).stdout, file).to.equal('Images are identical.\n');
        expect([0, 63], file).to.include(shop.qemuImg('check', '-q', mine).code);
      }
    });
  });

  /** All that it prints, in order, and its exit code. */
  function runScript(name: string, asOurs: boolean, args: readonly string[]): string {
    const script = fileURLToPath(new URL(`${name}.sh`, import.meta.url));
    const path = asOurs ? `${shims}:${process.env['PATH']}` : process.env['PATH'];
    const { status, stdout } = spawnSync('sh', ['-c', 'exec "$0" "$@" 2>&1', script, ...args], {
      encoding: 'utf8',
      env: { ...process.env, PATH: path },
      timeout: 120_000,
    });
    noteSaid(stdout);
    const text = stdout
      .replaceAll(args[0], 'FOLDER')
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
      // One message of qemu-img has no line feed at its end.
      .replace(/^(Detected format of \w+\.)\n?/gm, '$1\n');
    return `${text}exit code ${status}\n`;
  }
});
