// Names that are not UTF-8: the bytes that are typed, and that stand in a header, are the file's. Beside qemu-img.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { expect } from 'chai';
import { cliBundle, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

/** A shell hands over bytes that node cannot: `\377` is one. */
function shell(
  folder: string,
  script: string,
  bundle: string,
): { code: number | null; stdout: Buffer; stderr: Buffer } {
  const text = script.replaceAll('dw ', `'${process.execPath}' '${bundle}' `);
  const { status, stdout, stderr } = spawnSync('bash', ['-c', `B=$'b\\xffa\\xc3.q'; M=$'m\\xfe.q'; ${text}`], {
    cwd: folder,
  });
  return { code: status, stdout, stderr };
}

describe('command line: names that are not UTF-8', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let bundle: string;
  const sh = (script: string): string => {
    const { code, stdout, stderr } = shell(shop.folder, script, bundle);
    expect(code, `${script}: ${stderr}`).to.equal(0);
    return stdout.toString('latin1');
  };
  const names = (): string[] => readdirSync(shop.folder, { encoding: 'buffer' }).map((name) => name.toString('latin1'));

  before(async () => {
    bundle = await cliBundle();
  });
  beforeEach(async function () {
    requirePeer(this, 'qemu-img');
    shop = await Workshop.open();
  });
  afterEach(() => shop.remove());

  it('are made, read and written to under these very bytes', () => {
    sh('dw create -q -f qcow2 "$B" 1M && qemu-io -c "write -P 7 0 64k" "$B"');
    expect(names()).to.deep.equal(['b\xffa\xc3.q']);
    sh('dw convert -O raw "$B" "$M" && qemu-img compare "$B" "$M"');
    expect(names().sort()).to.deep.equal(['b\xffa\xc3.q', 'm\xfe.q']);
  });

  it('stand in headers as they are, and are found from there by both', () => {
    sh(
      'dw create -q -f qcow2 "$B" 1M && dw create -q -f qcow2 -b "$B" -F qcow2 "$M" && dw create -q -f qcow2 -b "$M" -F qcow2 top',
    );
    sh('qemu-io -c "write -P 7 0 64k" "$B" && qemu-img map top && dw stream --base "$B" top');
    expect(sh('dw info top')).to.equal(sh('qemu-img info top')).and.to.include('backing file: b\xffa\xc3.q');
    expect(sh('dw info --output=json top')).to.equal(sh('qemu-img info --output=json top'));
    sh('dw mirror --sync=top --target="$M.copy" top && qemu-img compare top "$M.copy"');
  });

  it('are resolved through folders and links with such names', () => {
    const folder = Buffer.concat([Buffer.from(`${shop.folder}/f`), Buffer.of(0xff)]);
    mkdirSync(folder);
    symlinkSync(folder, shop.path('link'));
    sh(
      'dw create -q -f qcow2 "link/$B" 1M && dw create -q -f qcow2 -b "$B" -F qcow2 link/over && cd link && dw map over',
    );
    expect(realpathSync.native(shop.path('link'), { encoding: 'buffer' }).equals(folder)).to.equal(true);
  });

  it('are the names of sockets and pid files, also of a server in the background', async () => {
    sh('dw create -q -f raw "$B" 1M && qemu-io -f raw -c "write -P 7 0 64k" "$B"');
    sh(`dw nbd --fork -t -f raw -k "$PWD/$M" --pid-file="$M.pid" "$B"`);
    const pid = Number(readFileSync(Buffer.from(`${shop.folder}/m\xfe.q.pid`, 'latin1'), 'latin1'));
    try {
      expect(statSync(Buffer.from(`${shop.folder}/m\xfe.q`, 'latin1')).isSocket()).to.equal(true);
      expect(sh('dw nbd --list -k "$PWD/$M"')).to.include('size:  1048576');
      sh('dw convert -f raw -O raw "nbd:unix:$PWD/$M" copy && cmp copy "$B"');
      sh('dw convert -f raw -O raw "nbd+unix:///?socket=$PWD/m%fe.q" copy && cmp copy "$B"');
    } finally {
      process.kill(pid);
    }
  });

  it('are shown as escapes where something is wrong with them', () => {
    const { code, stderr } = shell(shop.folder, 'dw info "$B"', bundle);
    expect(code).to.equal(1);
    expect(stderr.toString('latin1')).to.equal(
      "diskwright: Could not open 'b\\xffa\\xc3.q': Could not open 'b\\xffa\\xc3.q': No such file or directory\n",
    );
    expect(existsSync(shop.path('b\ufffda\ufffd.q'))).to.equal(false);
  });
});
