// `diskwright io` under its own name: prompt, messages, requests in the background, ends.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { type Outcome, Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';

describe('diskwright io', () => {
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
    expect(shop.ours('create', '-q', '-f', 'qcow2', 'disk', '4M').code).to.equal(0);
  });
  afterEach(() => shop.remove());

  function io(...commands: string[]): Outcome {
    return shop.ours('io', '-f', 'qcow2', ...commands.flatMap((command) => ['-c', command]), 'disk');
  }

  it('begins its messages with its own name', () => {
    const { code, stderr } = shop.ours('io', '-f', 'qcow2', '-r', '-c', 'write 0 512', 'disk');
    expect({ code, stderr }).to.deep.equal({ code: 1, stderr: 'diskwright: Block node is read-only\n' });
  });

  it('goes on after a command that failed', () => {
    const { code, stdout } = io('read 5M 512', 'length');
    expect({ code, stdout }).to.deep.equal({ code: 1, stdout: 'read failed: Input/output error\n4 MiB\n' });
  });

  it('refuses commands for zoned devices by name', () => {
    const { code, stderr } = io('zone_report 0 1', 'zrp 0 1');
    expect(code).to.equal(1);
    expect(stderr).to.match(/command 'zone_report' is not supported yet\n.*command 'zrp' is not supported yet\n/);
  });

  it('does not wait for a request that nobody has begun', () => {
    const { code, stderr } = io('wait_break A');
    expect(code).to.equal(1);
    expect(stderr).to.equal("diskwright: No request is under way that 'A' could hold up\n");
  });

  it('lets a request go on that is held up at the end', () => {
    const { code, stdout } = shop.ours(
      'io',
      '-c',
      'break write_aio A',
      '-c',
      'aio_write 0 512',
      '-c',
      'wait_break A',
      'blkdebug::disk',
    );
    expect(code).to.equal(0);
    expect(stdout).to.match(/^blkdebug: Suspended request 'A'\nwrote 512\/512 bytes at offset 0\n/);
    expect(io('read -q -P 205 0 512').code).to.equal(0);
  });

  it('closes the image at SIGTERM, also while a request is held up', async () => {
    const process_ = spawn(process.execPath, [shop.bundle, 'io', 'blkdebug::disk'], { cwd: shop.folder });
    process_.stdin.write('write -q -P 5 1M 512\nbreak write_aio A\naio_write -q 0 512\nwait_break A\naio_flush\n');
    for await (const chunk of process_.stdout) if (String(chunk).includes('Suspended')) break;
    process_.kill('SIGTERM');
    expect(await once(process_, 'exit')).to.deep.equal(diedBy('SIGTERM'));
    expect(io('read -q -P 5 1M 512', 'read -q -P 205 0 512').code).to.equal(0);
    expect(shop.ours('check', 'disk').code).to.equal(0);
  });

  it('holds the image as a writer does', async () => {
    const process_ = spawn(process.execPath, [shop.bundle, 'io', '-f', 'qcow2', 'disk'], { cwd: shop.folder });
    process_.stdin.write('length\n');
    for await (const chunk of process_.stdout) if (String(chunk).includes('MiB')) break;
    const { code, stderr } = io('length');
    expect(code).to.equal(1);
    expect(stderr).to.match(/^diskwright: can't open device disk: Failed to get "write" lock\n/);
    expect(shop.ours('io', '-f', 'qcow2', '-r', '-U', '-c', 'length', 'disk').stdout).to.equal('4 MiB\n');
    process_.stdin.end();
    expect((await once(process_, 'exit'))[0]).to.equal(0);
  });

  it('stores what is read with -C', () => {
    expect(io('write -q -P 9 0 64k').code).to.equal(0);
    expect(shop.ours('create', '-q', '-f', 'qcow2', '-b', 'disk', '-F', 'qcow2', 'top').code).to.equal(0);
    const { stdout } = shop.ours('io', '-C', '-f', 'qcow2', '-c', 'read -q -P 9 0 64k', '-c', 'alloc 0 1M', 'top');
    expect(stdout).to.equal('65536/1048576 bytes allocated at offset 0 bytes\n');
  });
});
