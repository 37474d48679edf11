// Standard streams that are closed, full, or read by nobody: for each verb one clear error, or silence.

import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

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
    await cliBundle();
  });
  beforeEach(async () => {
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'disk', '1M');
    shop.must('cp', 'disk', 'listed');
    shop.must('qemu-img', 'snapshot', '-c', 's', 'listed');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'disk', '-F', 'qcow2', 'over');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'raw', '1M');
  });
  afterEach(() => shop.remove());

  for (const command of COMMANDS) {
    it(command, () => {
      const program = `${process.execPath} ${shop.bundle} ${command}`;
      const ends = (how: string) => {
        const { code, stderr } = shop.run('bash', '-c', `${program} ${how}`);
        return { code, stderr };
      };
      const ends0 = { code: 0, stderr: '' };
      expect(ends('< /dev/null | true; exit $PIPESTATUS'), 'nobody reads').to.deep.equal(ends0);
      expect(ends('<&- >&- 2>&-'), 'all are closed').to.deep.equal(ends0);
      const full = ends('> /dev/full');
      expect([0, 1]).to.include(full.code);
      expect(full.stderr, 'full').to.equal(full.code === 0 ? '' : FULL);
    });
  }
});
