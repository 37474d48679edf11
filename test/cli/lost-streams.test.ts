// Standard streams that are closed, full, or read by nobody: for each verb one clear error, or silence.

import { cpSync, mkdirSync } from 'node:fs';
import { expect } from 'chai';
import { run, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { DAY, SOAK } from '../support/sample.js';

const COMMANDS = [
  '--help',
  '--version --json',
  'help info',
  'info disk',
  'map --output=json disk',
  'check disk',
  'measure -O raw disk',
  'snapshot -l listed',
  'compare --progress=json disk disk',
  'convert -p -O raw disk made',
  'create -f qcow2 new 1M',
  'bench -c 3 -f raw raw',
  'completion bash',
  'shims links',
  'resize -f raw raw 2M',
  'compact -n disk',
  'salvage disk saved',
  'amend -p -o compat=1.1 disk',
  'commit -p over',
];

const FULL = 'diskwright: error while writing to standard output: No space left on device\n';

describe('standard streams that are lost', function () {
  this.timeout(60_000);
  let shop: Workshop;
  before(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
    mkdirSync(shop.path('origin'));
    const make = (...words: string[]) => shop.must('qemu-img', ...words);
    make('create', '-q', '-f', 'qcow2', 'origin/disk', '1M');
    shop.must('cp', 'origin/disk', 'origin/listed');
    make('snapshot', '-c', 's', 'origin/listed');
    make('create', '-q', '-f', 'qcow2', '-b', 'disk', '-F', 'qcow2', 'origin/over');
    make('create', '-q', '-f', 'raw', 'origin/raw', '1M');
  });
  after(() => shop?.remove());

  for (const [index, command] of COMMANDS.entries()) {
    it(command, () => {
      const folder = shop.path(`case${index}`);
      cpSync(shop.path('origin'), folder, { recursive: true });
      const ends = (how: string) => {
        const { code, stderr } = run('bash', ['-c', `${process.execPath} ${shop.bundle} ${command} ${how}`], folder);
        return { code, stderr };
      };
      const ends0 = { code: 0, stderr: '' };
      // A short run does one of these two, by the day.
      const turn = (index + DAY) % 2;
      if (SOAK || turn === 0) {
        expect(ends('< /dev/null | true; exit $PIPESTATUS'), 'nobody reads').to.deep.equal(ends0);
      }
      if (SOAK || turn === 1) expect(ends('<&- >&- 2>&-'), 'all are closed').to.deep.equal(ends0);
      const full = ends('> /dev/full');
      expect([0, 1]).to.include(full.code);
      if (SOAK) {
        // A command that prints something must not end as if it had done so.
        const other = shop.path(`prints${index}`);
        cpSync(shop.path('origin'), other, { recursive: true });
        const { stdout } = run('bash', ['-c', `${process.execPath} ${shop.bundle} ${command}`], other);
        expect(full.code).to.equal(stdout === '' ? 0 : 1);
      }
      expect(full.stderr, 'full').to.equal(full.code === 0 ? '' : FULL);
    });
  }
});
