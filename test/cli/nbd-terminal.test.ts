// `diskwright nbd` on a terminal says where it listens and who comes and goes; by the name qemu-nbd, and elsewhere, it says nothing of that.

import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { onTerminal } from '../support/terminal.js';

describe('diskwright nbd on a terminal', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    requirePeer(this, 'python3');
    shop = await Workshop.open();
    writeFileSync(shop.path('disk'), Buffer.alloc(1 << 20, 1));
    expect(shop.shim('qemu-nbd', '--version').code).to.equal(0);
  });
  after(() => shop?.remove());

  /** Serves one client, which ends the server; what both have printed. */
  function session(program: string, errors = ''): string {
    const path = shop.path('disk.sock');
    // The client waits until the server listens.
    const server = `${program} -k ${path} -f raw disk ${errors} & until [ -S ${path} ]; do sleep 0.05; done`;
    const client = `"${process.execPath}" "${shop.bundle}" info nbd+unix:///?socket=${path} | grep size:`;
    return onTerminal(shop, ['sh', '-c', `${server}; ${client}; wait`]).said.replaceAll('\r', '');
  }

  it('tells the address and the client', () => {
    const said = session(`"${process.execPath}" "${shop.bundle}" nbd`);
    expect(said).to.include(`diskwright: serving 'disk' at unix:${shop.path('disk.sock')}\n`);
    expect(said.match(/^diskwright: .*: connected$/gm)).to.have.lengthOf(1);
    expect(said.match(/^diskwright: .*: left$/gm)).to.have.lengthOf(1);
  });

  it('tells nothing in the place of qemu-nbd, and nothing to a file', () => {
    expect(session('.qemu-nbd-shim/qemu-nbd')).to.not.include('serving');
    session(`"${process.execPath}" "${shop.bundle}" nbd`, '2>said');
    expect(spawnSync('cat', [shop.path('said')], { encoding: 'utf8' }).stdout).to.equal('');
  });
});
