// What docs/hypervisor.md tells people to type works: the three commands bring up a guest, the program runs.

import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';
import { accelerator } from './guest/accelerator.js';
import { Agent } from './guest/agent.js';
import { endWithUs } from './guest/children.js';
import { checkImage, makeQcow2 } from './guest/images.js';
import { requireGuest } from './guest/lab.js';
import { guestParts } from './guest/parts.js';
import { PATIENCE_MS, within } from './guest/within.js';

const PAGE = readFileSync(new URL('../../docs/hypervisor.md', import.meta.url), 'utf8');
const LIBRARY = new URL('../../src/index.ts', import.meta.url).href;
const TSX = pathToFileURL(fileURLToPath(import.meta.resolve('tsx'))).href;

function block(language: string): string {
  return [...PAGE.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language)[0][2];
}

describe('docs/hypervisor.md', function () {
  this.timeout(300_000);
  let shop: Workshop;

  before(function () {
    requireGuest(this);
  });
  beforeEach(async () => {
    shop = await Workshop.open();
  });
  afterEach(() => {
    endServer();
    shop.remove();
  });

  /** It is nobody's child: that it has ended can only be looked for. */
  function endServer(): void {
    const script = 'pid=$(cat disk.pid 2>/dev/null) && kill $pid; while kill -0 $pid; do sleep 0.05; done';
    spawnSync('sh', ['-c', script], { cwd: shop.folder, stdio: 'ignore', timeout: PATIENCE_MS });
  }

  it('three commands boot a guest from a chain', async () => {
    const parts = guestParts();
    makeQcow2(parts.root, shop.path('base.qcow2'));
    const agent = new Agent(shop.path('agent'));
    // What an image with a boot loader would bring, and what cannot work without a screen.
    const extra = [
      ...[
        '-kernel',
        parts.kernel,
        '-initrd',
        parts.initramfs,
        '-append',
        'quiet panic=-1',
        '-nodefaults',
        '-display',
        'none',
      ],
      ...['-chardev', 'socket,id=agent,path=agent', '-device', 'virtio-serial-pci'],
      ...['-device', 'virtserialport,chardev=agent,name=diskwright.agent', '-no-reboot'],
    ];
    const script = block('sh')
      .replace('-accel kvm -accel tcg', accelerator(parts).join(' '))
      .replace('-m 2048', '-m 192');
    writeFileSync(
      shop.path('script'),
      `set -e
diskwright() { '${process.execPath}' '${await cliBundle()}' "$@"; }
qemu-system-x86_64() { exec qemu-system-x86_64 "$@" ${extra.map((word) => `'${word}'`).join(' ')}; }
${script}`,
    );
    const shell = spawn('bash', ['script'], { cwd: shop.folder, stdio: ['ignore', 'ignore', 'inherit'] });
    endWithUs(shell);
    const ended = new Promise<number | null>((resolve) => shell.once('exit', resolve));
    void ended.then(() => agent.close());
    await within('boot', agent.ready, 120_000);
    expect(await agent.run('echo something > /file && sync && cat /file')).to.equal('something');
    agent.farewell('mount -o remount,ro / && poweroff -f');
    expect(await within('power off', ended)).to.equal(0);
    endServer();
    checkImage(shop.path('top.qcow2'));
  });

  it('the program runs', () => {
    writeFileSync(shop.path('example.mts'), block('js').replaceAll("'diskwright'", `'${LIBRARY}'`));
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', TSX, 'example.mts'], {
      cwd: shop.folder,
      encoding: 'utf8',
    });
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    expect(stdout).to.equal(`nbd+unix:///disk?socket=${shop.path('disk.socket')}\n`);
  });
});
