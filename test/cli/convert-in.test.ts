// `convert - IMAGE`: standard input as raw bytes of any number, or the file that it is redirected from.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { withoutOwnWords } from '../support/own-words.js';
import { requirePeer } from '../support/peers.js';

const MiB = 1 << 20;

describe('convert from standard input', function () {
  this.timeout(60_000);
  let shop: Workshop;

  const shell = (line: string) => {
    const env = { ...process.env, D: `${process.execPath} ${shop.bundle}` };
    const done = spawnSync('bash', ['-c', line], { cwd: shop.folder, encoding: 'utf8', env, timeout: 30_000 });
    return { code: done.status, stdout: done.stdout, stderr: done.stderr };
  };
  const sameAs = (raw: string, image: string): void => {
    const { stdout } = shop.qemuImg('compare', '-f', 'raw', '-F', 'qcow2', raw, image);
    expect(stdout).to.equal('Images are identical.\n');
    expect(shop.qemuImg('check', image).code).to.equal(0);
  };

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shell(
      `truncate -s 9M disk && qemu-io -f raw -c 'write -P 1 0 3M' -c 'write -P 2 8M 700k' disk &&
       head -c 5000001 disk > odd && qemu-img convert -f raw -O qcow2 disk disk.qcow2`,
    );
  });
  after(() => shop?.remove());

  for (const options of ['', '-c', '-o compat=0.10', '-o cluster_size=2M', '-o cluster_size=512', '-S 0']) {
    it(`grows a qcow2 image with the bytes ${options}`, () => {
      for (const name of ['disk', 'odd']) {
        const { code, stderr } = shell(`cat ${name} | $D convert -f raw -O qcow2 ${options} - to`);
        expect([code, stderr]).to.deep.equal([0, '']);
        sameAs(name, 'to');
      }
    });
  }

  it('makes a raw file in whole sectors, with holes', () => {
    shell('cat disk | $D convert -O raw - whole; cat odd | $D convert -O raw - sectors');
    expect(readFileSync(shop.path('whole')).equals(readFileSync(shop.path('disk')))).to.equal(true);
    expect(statSync(shop.path('whole')).blocks * 512).to.be.below(6 << 20);
    expect(statSync(shop.path('sectors')).size).to.equal(5000192);
  });

  for (const [format, most] of [
    ['raw', 8 * MiB],
    ['qcow2', 72 * MiB],
  ] as const) {
    it(`leaves no ${format} disk that is longer by far than what came, where it is killed`, async () => {
      const child = spawn(process.execPath, [shop.bundle, 'convert', '-O', format, '-', `killed.${format}`], {
        cwd: shop.folder,
        stdio: ['pipe', 'ignore', 'ignore'],
      });
      const ended = once(child, 'close');
      // Two pieces of 2 MiB are written, and a third is waited for.
      child.stdin.on('error', () => undefined).write(Buffer.alloc(5 * MiB, 1));
      const written = (): number => statSync(shop.path(`killed.${format}`), { throwIfNoEntry: false })?.blocks ?? 0;
      while (child.exitCode === null && written() * 512 < 4 * MiB) await new Promise(setImmediate);
      child.kill('SIGKILL');
      await ended;
      const info = JSON.parse(shop.must('qemu-img', 'info', '-f', format, '--output=json', `killed.${format}`));
      expect(info['virtual-size']).to.be.within(4 * MiB, most);
    });
  }

  it('takes what nbdcopy reads from a server of NBD', function () {
    for (const peer of ['nbdcopy', 'qemu-nbd']) requirePeer(this, peer);
    const line =
      'set -o pipefail; nbdcopy -- [ qemu-nbd -r -f qcow2 disk.qcow2 ] - | $D convert -f raw -O qcow2 - came';
    expect(shell(line)).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    sameAs('disk', 'came');
  });

  it('takes a file that is redirected as the image that it is', () => {
    expect(shell('$D convert -O raw - from < disk.qcow2').code).to.equal(0);
    expect(readFileSync(shop.path('from')).equals(readFileSync(shop.path('disk')))).to.equal(true);
  });

  it('takes such a file whatever bytes its name has', () => {
    shell("cp disk.qcow2 $'\\xe4\\xff' && $D convert -O raw - named < $'\\xe4\\xff'");
    expect(readFileSync(shop.path('named')).equals(readFileSync(shop.path('disk')))).to.equal(true);
  });

  it('refuses bytes of another format, before there is a target', () => {
    const { code, stderr } = shell('cat disk.qcow2 | $D convert -O raw - nothing');
    expect(code).to.equal(1);
    expect(stderr).to.match(/an image of the format 'qcow2', which cannot be read in order/);
    expect(existsSync(shop.path('nothing'))).to.equal(false);
  });

  it('refuses a stream without bytes, and leaves the target alone', () => {
    shell('cp disk.qcow2 kept');
    for (const line of [
      'false | $D convert -O qcow2 - kept',
      'false | $D convert -n -O qcow2 - kept',
      '$D convert -O qcow2 - kept <&-',
      '$D convert -f raw -O qcow2 -o size=1M - kept < /dev/null',
    ]) {
      const { code, stderr } = shell(line);
      expect(code, line).to.equal(1);
      expect(stderr, line).to.equal(
        'diskwright: error while converting standard input: no bytes come from standard input\n',
      );
    }
    expect(readFileSync(shop.path('kept')).equals(readFileSync(shop.path('disk.qcow2')))).to.equal(true);
  });

  it('compresses bytes that end within a cluster, where the disk goes on behind them', () => {
    shell('qemu-img create -q -f qcow2 there.qcow2 20M && qemu-io -c "write -P 9 0 20M" there.qcow2');
    for (const words of ['-o size=20M - fresh', '-S 0 -o size=20M - fresh', '-n - there.qcow2']) {
      for (const name of ['disk', 'odd']) {
        const line = `cat ${name} | $D convert -c -f raw -O qcow2 ${words}`;
        expect(shell(line), line).to.deep.equal({ code: 0, stdout: '', stderr: '' });
        const image = words.split(' ').at(-1)!;
        // Behind the bytes there are zeroes.
        expect(shop.qemuImg('compare', '-f', 'raw', '-F', 'qcow2', name, image).code, line).to.equal(0);
        expect(shop.qemuImg('check', image).code, line).to.equal(0);
      }
    }
  });

  it('fills a target of a given size: more bytes are refused, behind fewer there are zeroes', () => {
    shell('head -c 10M /dev/urandom > there; cat disk | $D convert -n -O raw - there');
    const there = readFileSync(shop.path('there'));
    expect(there.subarray(0, 9 << 20).equals(readFileSync(shop.path('disk')))).to.equal(true);
    expect(there.subarray(9 << 20).every((byte) => byte === 0)).to.equal(true);
    shell('truncate -s 1M short');
    const { code, stderr } = shell('cat disk | $D convert -n -O raw - short');
    expect([code, stderr]).to.deep.equal([
      1,
      'diskwright: error while converting standard input: there are more bytes than the 1048576 that the target has room for\n' +
        "'short' is incomplete: delete it or start again.\n",
    ]);
    expect(statSync(shop.path('short')).size).to.equal(1 << 20);
  });

  it('refuses a target in the very file that it reads from, also from its middle on', () => {
    shell(`mkdir own && cp disk own/disk && ln own/disk own/hard && ln -s disk own/symbolic &&
           qemu-img create -q -f qcow2 -o data_file=own/data,data_file_raw=on own/apart 9M`);
    const before = shell('cd own && sha256sum *').stdout;
    for (const [from, words] of [
      ['disk', '-O raw - own/disk'],
      ['disk', '-O raw - own/hard'],
      ['disk', '-O qcow2 - own/symbolic'],
      ['disk', '-n -O raw - own/hard'],
      ['disk', '-n --target-image-opts - driver=raw,file.filename=own/disk,file.locking=off'],
      ['data', '-n -O qcow2 - own/apart'],
      ['data', '-f raw -O raw - own/data'],
      ['data', '-O qcow2 -o data_file=own/data - own/new'],
      ['apart', '-f raw -n -O qcow2 - own/apart'],
    ]) {
      for (const offset of [0, 4096]) {
        const line = `(head -c ${offset} >/dev/null; exec $D convert ${words}) < own/${from}`;
        const { code, stderr } = shell(line);
        expect(code, line).to.equal(1);
        expect(stderr, line).to.match(offset === 0 ? /lock|is the same file/ : /standard input comes from this file/);
        expect(shell('cd own && sha256sum *').stdout, line).to.equal(before);
      }
    }
    // Another target takes the bytes from there on.
    expect(shell('(head -c 4096 >/dev/null; exec $D convert -O raw - rest) < own/disk').code).to.equal(0);
    expect(readFileSync(shop.path('rest')).equals(readFileSync(shop.path('disk')).subarray(4096))).to.equal(true);
  });

  it('refuses what cannot be read, in words', () => {
    for (const [redirected, why] of [
      ['< .', 'Standard input is a directory: redirect it from a file or a pipe'],
      ['0> written', 'Standard input can only be written: redirect it from a file or a pipe'],
      ['0> >(cat)', 'Standard input can only be written: redirect it from a file or a pipe'],
    ]) {
      const { code, stderr } = shell(`$D convert -O raw - none ${redirected}`);
      expect([code, stderr.split('\n')[0]], redirected).to.deep.equal([1, `diskwright: ${why}`]);
      expect(existsSync(shop.path('none')), redirected).to.equal(false);
    }
  });

  it('has the words of qemu-img for a pipe by the name of a file', () => {
    for (const name of ['/dev/stdin', '/dev/fd/0']) {
      const ours = shell(`cat disk | $D convert -f raw -O raw ${name} none`);
      const theirs = shell(`cat disk | qemu-img convert -f raw -O raw ${name} none`);
      expect({ ...ours, stderr: withoutOwnWords(ours.stderr) }).to.deep.equal(asOurs(theirs));
      expect(existsSync(shop.path('none'))).to.equal(false);
    }
  });

  it('wants the size for a format that does not grow, before anything is made', () => {
    for (const format of ['cow', 'parallels', 'qcow', 'qed', 'vdi', 'vhdx', 'vmdk', 'vpc']) {
      const { code, stderr } = shell(`cat disk | $D convert -f raw -O ${format} - none`);
      expect([code, stderr.split('\n')[0]], format).to.deep.equal([
        1,
        `diskwright: Images of the format '${format}' do not grow with a stream: give the size with -o size=SIZE`,
      ]);
      expect(existsSync(shop.path('none')), format).to.equal(false);
    }
    expect(shell('cat disk | $D convert -f raw -O vdi -o size=9M - sized').code).to.equal(0);
    expect(shell('qemu-img compare disk sized').stdout).to.match(/Images are identical\.\n$/);
  });

  it('refuses by name what cannot be', () => {
    for (const words of ['-B x -F raw', '-l x', '-f qcow2', '-o preallocation=full', '--salvage']) {
      const { code, stderr } = shell(`cat disk | $D convert -O qcow2 ${words} - none`);
      expect(code, words).to.equal(1);
      expect(stderr, words).to.match(/^diskwright: /);
      expect(existsSync(shop.path('none')), words).to.equal(false);
    }
  });
});
