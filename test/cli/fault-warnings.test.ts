// What a job says of requests that fail and are tried again: one line each, with the file, the guest's offset and the cause; and that it goes on
// when there is room again.

import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { pattern } from '../drivers/support.js';
import { run, Workshop } from '../support/cli.js';
import { leaveOut } from '../support/needs.js';

const SIZE = 3 << 20;
const WARNING =
  /^diskwright: warning: writing to 'small\/target' at guest offset (\d+) failed: No space left on device \(ignore\)$/;

describe('warnings of a job', () => {
  let shop: Workshop;
  let mounted = false;
  before(async function () {
    shop = await Workshop.open();
    writeFileSync(shop.path('source'), pattern(SIZE));
    shop.must('mkdir', 'small');
    mounted = run('mount', ['-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', 'small'], shop.folder).code === 0;
    if (!mounted) leaveOut(this, 'mount name spaces');
  });
  after(() => {
    if (mounted) shop.must('umount', 'small');
    shop.remove();
  });

  for (const verb of ['mirror', 'backup']) {
    it(`${verb}: name file, guest offset and cause, once a place, and end with the fault`, async () => {
      writeFileSync(shop.path('small/filler'), Buffer.alloc(2 << 20, 1));
      const words = [verb, '-f', 'raw', '--format=raw', '--on-target-error=ignore', '--target=small/target', 'source'];
      const child = spawn(process.execPath, [shop.bundle, ...words], { cwd: shop.folder });
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (data) => {
        stdout += data;
      });
      const code = await new Promise<number | null>((resolve) => {
        child.on('close', resolve);
        child.stderr.on('data', (data) => {
          stderr += data;
          // The range is tried again, and there is room then.
          rmSync(shop.path('small/filler'), { force: true });
        });
      });
      expect(code, stderr).to.equal(0);
      const lines = stderr.trimEnd().split('\n');
      expect(lines[0]).to.match(WARNING);
      for (const line of lines) {
        expect(line).to.match(WARNING);
        expect(Number(WARNING.exec(line)![1])).to.be.lessThan(SIZE);
      }
      expect(new Set(lines).size).to.equal(lines.length);
      expect(stdout).to.match(/\.\n$/);
      expect(readFileSync(shop.path('small/target')).equals(Buffer.from(pattern(SIZE)))).to.equal(true);
      rmSync(shop.path('small/target'));
    });
  }
});
