// Shell scripts that know only qemu-img and qemu-io, run with QEMU's tools and with ours under their names: they print the same, and leave the same images.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { Workshop } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { DAY, SOAK } from '../../support/sample.js';
import { noteSaid } from '../../support/unexpected.js';

interface Script {
  /** Makes the images that are there before. */
  before: string;
  /** The arguments behind the folder. */
  args: readonly string[];
}

const SCRIPTS: Readonly<Record<string, Script>> = {
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

  Object.entries(SCRIPTS).forEach(([name, script], at) => {
    // Each takes some hundred processes.
    if (!SOAK && at !== DAY % Object.keys(SCRIPTS).length) return;
    it(name, () => {
      expect(differences(shop, name, script, shims)).to.deep.equal([]);
    });
  });

  it('are seen to print one wrong word, and to leave one wrong sector', () => {
    // Planted: QEMU's own programs, but for that.
    const one = { before: 'mkdir archive; qemu-img create -q -f qcow2 a.qcow2 8M', args: ['1'] };
    const word = planted(
      'qemu-img',
      'said=$(REAL "$@"); code=$?; [ -z "$said" ] || echo "$said" | sed s/identical/equal/; exit $code',
    );
    expect(differences(shop, 'nightly-rotation', one, word)).to.deep.equal([
      'it prints "Images are equal.", in place of "Images are identical."',
    ]);
    const sector = planted(
      'qemu-io',
      'REAL "$@" || exit; for disk; do :; done; REAL -f qcow2 -c "write -q -P 99 110k 512" "$disk"',
    );
    expect(differences(shop, 'nightly-rotation', one, sector)).to.deep.equal(['a.qcow2 has other content']);
  });

  /** A folder with the program `name` that runs a shell script; `REAL` is QEMU's. */
  function planted(name: string, script: string): string {
    const folder = mkdtempSync(shop.path('planted-'));
    const real = shop.must('sh', '-c', `command -v ${name}`).trim();
    writeFileSync(join(folder, name), `#!/bin/sh\n${script.replaceAll('REAL', real)}\n`, { mode: 0o755 });
    return folder;
  }
});

/** What a script does otherwise with the programs in the folder `shims` than with QEMU's. */
function differences(shop: Workshop, name: string, { before, args }: Script, shims: string): string[] {
  const [theirs, ours] = ['', `${shims}:`].map((first) => {
    const folder = mkdtempSync(shop.path(`${name}-`));
    shop.must('sh', '-c', `cd ${folder} && ${before || true}`);
    return { folder, said: runScript(name, first, [folder, ...args]) };
  });
  expect(theirs.said).to.match(/\nexit code 0\n$/);
  const found = saidDifferences(ours.said.split('\n'), theirs.said.split('\n'));
  const [names, ourNames] = [theirs, ours].map(({ folder }) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort(),
  );
  if (names.join() !== ourNames.join()) found.push(`it leaves ${ourNames}, in place of ${names}`);
  for (const file of names.filter((one) => ourNames.includes(one))) {
    const [other, mine] = [theirs, ours].map(({ folder }) => join(folder, file));
    if (!statSync(mine).isFile()) continue;
    if (shop.qemuImg('compare', mine, other).code !== 0) found.push(`${file} has other content`);
    // 63: the format has no check.
    if (![0, 63].includes(shop.qemuImg('check', '-q', mine).code ?? -1)) found.push(`${file} has errors`);
  }
  return found;
}

function saidDifferences(ours: readonly string[], theirs: readonly string[]): string[] {
  const found: string[] = [];
  for (let at = 0; at < Math.max(ours.length, theirs.length); at++) {
    if (ours[at] !== theirs[at]) found.push(`it prints "${ours[at]}", in place of "${theirs[at]}"`);
  }
  return found;
}

/** All that it prints, in order, and its exit code. `first`: what stands before `PATH`. */
function runScript(name: string, first: string, args: readonly string[]): string {
  const script = fileURLToPath(new URL(`${name}.sh`, import.meta.url));
  const { status, stdout } = spawnSync('sh', ['-c', 'exec "$0" "$@" 2>&1', script, ...args], {
    encoding: 'utf8',
    env: { ...process.env, PATH: `${first}${process.env['PATH']}` },
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
