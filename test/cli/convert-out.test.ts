// `convert IMAGE -`: the image on standard output, beside what qemu-img makes of the same source, and all that can go wrong there.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';
import { leaveOut } from '../support/needs.js';
import { requirePeer } from '../support/peers.js';

describe('convert to standard output', function () {
  this.timeout(60_000);
  let shop: Workshop;

  /** Runs a line of a shell, in which $D is our command line. */
  const shell = (line: string) => {
    const env = { ...process.env, D: `${process.execPath} ${shop.bundle}` };
    const done = spawnSync('bash', ['-c', line], { cwd: shop.folder, encoding: 'utf8', env, timeout: 30_000 });
    return { code: done.status, stdout: done.stdout, stderr: done.stderr };
  };

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shell(
      `qemu-img create -q -f qcow2 base.qcow2 12M && qemu-io -c 'write -P 1 0 3M' -c 'write -P 2 6M 1M' base.qcow2 &&
       qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 && cp base.qcow2 other.qcow2 &&
       qemu-io -c 'write -P 3 1M 100k' -c 'write -z 6M 256k' -c 'write -P 0 9M 128k' -c 'write -P 4 11M 1M' top.qcow2`,
    );
  });
  after(() => shop?.remove());

  const same = (name: string, format: string): void => {
    expect(shop.qemuImg('compare', '-f', format, '-F', 'qcow2', name, 'top.qcow2').stdout).to.equal(
      'Images are identical.\n',
    );
    if (format === 'qcow2') expect(shop.qemuImg('check', name).code).to.equal(0);
  };

  const runs = (name: string): string => {
    const map = JSON.parse(shop.qemuImg('map', '--output=json', name).stdout) as Record<string, unknown>[];
    return map.map(({ start, length, zero, data }) => [start, length, zero, data].join()).join('\n');
  };

  it('is raw in order through a pipe, with all zeroes', () => {
    expect(shell('$D convert -O raw top.qcow2 - | cat > piped.raw; echo $PIPESTATUS').stdout).to.equal('0\n');
    same('piped.raw', 'raw');
    expect(statSync(shop.path('piped.raw')).size).to.equal(12 << 20);
  });

  it('goes through a pipe into a server of NBD', function () {
    for (const peer of ['nbdcopy', 'qemu-nbd']) requirePeer(this, peer);
    const line =
      'set -o pipefail; truncate -s 12M served; $D convert -O raw top.qcow2 - | nbdcopy -- - [ qemu-nbd -f raw served ]';
    expect(shell(line)).to.deep.equal({ code: 0, stdout: '', stderr: '' });
    same('served', 'raw');
  });

  it('leaves holes in a file, and the place behind it to the next program', () => {
    shell('(head -c 512 /dev/zero; $D convert -O raw top.qcow2 -; echo end) > file.raw');
    const bytes = readFileSync(shop.path('file.raw'));
    expect(bytes.subarray(512, -4).equals(readFileSync(shop.path('piped.raw')))).to.equal(true);
    expect(bytes.subarray(-4).toString()).to.equal('end\n');
    expect(statSync(shop.path('file.raw')).blocks * 512).to.be.below(8 << 20);
    // The disk ends with zeroes.
    shell('$D convert -O raw base.qcow2 - > zeroes.raw');
    expect(shop.qemuImg('compare', '-f', 'raw', '-F', 'qcow2', 'zeroes.raw', 'base.qcow2').code).to.equal(0);
    expect(statSync(shop.path('zeroes.raw')).size).to.equal(12 << 20);
  });

  it('leaves no holes where it appends, or writes over something', () => {
    shell(
      'head -c 13M /dev/urandom > old; cp old appended; $D convert top.qcow2 - 1<>old; $D convert top.qcow2 - >> appended',
    );
    const wanted = readFileSync(shop.path('piped.raw'));
    expect(readFileSync(shop.path('old')).subarray(0, wanted.length).equals(wanted)).to.equal(true);
    expect(
      readFileSync(shop.path('appended'))
        .subarray(13 << 20)
        .equals(wanted),
    ).to.equal(true);
  });

  it('is whole in a file, or fails, where the file system has a limit', () => {
    // Zeroes of a file on ext4 end at 16 TiB.
    shell("qemu-img create -q -f qcow2 huge 17T && qemu-io -c 'write -P 1 17591112302592 64k' huge");
    const { code, stderr } = shell('$D convert -O raw huge - > vast');
    if (code === 0) expect(statSync(shop.path('vast')).size).to.equal(17 * 2 ** 40);
    else expect(stderr).to.equal('diskwright: error while writing to standard output: Invalid argument\n');
    shell('rm -f vast');
  });

  describe('that is a file', () => {
    before(function () {
      const { status } = spawnSync('strace', ['-qq', '-o', '/dev/null', 'true']);
      if (status !== 0) leaveOut(this, 'a filter of system calls');
    });

    it('is flushed, and what the flush fails with is told', () => {
      const { code, stderr } = shell(
        'strace -f -qq -o /dev/null -e inject=fsync:error=ENOSPC:when=1+ $D convert -O raw base.qcow2 - > flushed',
      );
      expect([code, stderr]).to.deep.equal([
        1,
        'diskwright: error while writing to standard output: No space left on device\n',
      ]);
    });
  });

  for (const options of [
    'cluster_size=64k',
    'compat=0.10',
    'cluster_size=2M',
    'cluster_size=512',
    'extended_l2=on',
    'refcount_bits=1',
  ]) {
    it(`is qcow2 with ${options}, as qemu-img makes it`, () => {
      shell(`$D convert -O qcow2 -o ${options} top.qcow2 - | cat > ours`);
      same('ours', 'qcow2');
      if (options === 'cluster_size=512' || options === 'extended_l2=on') return;
      shell(`qemu-img convert -O qcow2 -o ${options} top.qcow2 theirs`);
      expect(runs('ours')).to.equal(runs('theirs'));
    });
  }

  for (const [backing, options] of [
    ['base.qcow2', 'compat=1.1'],
    ['base.qcow2', 'compat=0.10'],
    ['other.qcow2', 'compat=1.1'],
  ]) {
    it(`is an overlay of ${backing}, ${options}`, () => {
      shell(`$D convert -O qcow2 -o ${options} -B ${backing} -F qcow2 top.qcow2 - > over`);
      same('over', 'qcow2');
      expect(statSync(shop.path('over')).size).to.be.below(3 << 20);
    });
  }

  const VMDK = '-O vmdk -o subformat=streamOptimized';

  // Tables of grains hold 32 MiB each: some have none, the last one is not full, and neither is the last grain.
  it('is a stream-optimised VMDK image, which both tools read', () => {
    shell(`qemu-img create -q -f raw wide 200M && qemu-img resize -q -f raw wide +1536 &&
           qemu-io -f raw -c 'write -P 1 5M 3M' -c 'write -P 2 31M 2M' -c 'write -P 3 130M 70k' -c 'write -P 4 209714688 2k' wide &&
           dd if=/dev/urandom of=wide bs=64k seek=2400 count=40 conv=notrunc status=none`);
    for (const words of ['', '-c ', '-S 0 ', '-S 1M ', '-o adapter_type=lsilogic ']) {
      const { code, stdout, stderr } = shell(
        `set -o pipefail; $D convert ${words}${VMDK} -f raw wide - | cat > stream`,
      );
      expect({ code, stdout, stderr }, words).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      expect(shop.qemuImg('compare', '-f', 'vmdk', '-F', 'raw', 'stream', 'wide').code, words).to.equal(0);
      expect(shop.qemuImg('check', 'stream').code, words).to.equal(0);
      expect(shell('$D compare -f vmdk -F raw stream wide && $D check -q stream').code, words).to.equal(0);
    }
    expect(statSync(shop.path('stream')).size).to.be.below(8 << 20);
  });

  it('is a VMDK image with nothing in it, too', () => {
    shell(`qemu-img create -q -f raw nothing 40M; $D convert ${VMDK} -f raw nothing - > stream`);
    expect(shop.qemuImg('compare', '-f', 'vmdk', '-F', 'raw', 'stream', 'nothing').code).to.equal(0);
  });

  it('is zero behind the end of the source, where the backing file is longer', () => {
    shell(`qemu-img create -q -f qcow2 little 3000k && qemu-io -c 'write -P 5 1M 1M' little &&
           qemu-img create -q -f qcow2 -b little -F qcow2 -o size=3000k smaller`);
    for (const source of ['little', 'smaller']) {
      for (const options of ['size=8M', 'size=7M,cluster_size=2M', 'size=8M,compat=0.10', 'size=7M,extended_l2=on']) {
        for (const words of ['', '-S 0 ']) {
          const line = `$D convert ${words}-O qcow2 -o ${options} -B base.qcow2 -F qcow2 ${source} - > longer`;
          expect(shell(line), line).to.deep.equal({ code: 0, stdout: '', stderr: '' });
          expect(shop.qemuImg('check', 'longer').code, line).to.equal(0);
          const { code } = shop.qemuImg('compare', '-f', 'qcow2', '-F', 'qcow2', 'longer', 'little');
          expect(code, line).to.equal(0);
        }
      }
    }
    // The one cluster at the end of the source reads as the backing file does, but for what lies behind.
    shell('qemu-img convert -f qcow2 -O raw base.qcow2 end && truncate -s 1000k end');
    shell('$D convert -O qcow2 -o size=8M -B base.qcow2 -F qcow2 -f raw end - > longer');
    expect(shop.qemuImg('compare', '-f', 'qcow2', '-F', 'raw', 'longer', 'end').code).to.equal(0);
  });

  it('says that a reader went away, and that there is no space', () => {
    const gone = shell('$D convert -O raw top.qcow2 - | head -c 100 >/dev/null; echo $PIPESTATUS');
    expect(gone.stdout).to.equal('1\n');
    expect(gone.stderr).to.equal('diskwright: error while writing to standard output: Broken pipe\n');
    const full = shell('$D convert -O qcow2 top.qcow2 - > /dev/full');
    expect([full.code, full.stderr]).to.deep.equal([
      1,
      'diskwright: error while writing to standard output: No space left on device\n',
    ]);
  });

  it('ends by Ctrl-C while nobody reads', async () => {
    const child = spawn(process.execPath, [shop.bundle, 'convert', '-O', 'raw', 'top.qcow2', '-'], {
      cwd: shop.folder,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    const ended = once(child, 'close');
    // Some of it has come, and the pipe is full.
    await once(child.stdout, 'readable');
    child.kill('SIGINT');
    // What is in the pipe is not waited for.
    await once(child, 'exit');
    child.stdout.resume();
    expect(await ended).to.deep.equal(diedBy('SIGINT'));
    expect(said).to.equal("diskwright: Cancelled. 'top.qcow2' is unchanged; the output is incomplete.\n");
  });

  it('writes progress to standard error', () => {
    const { stdout, stderr } = shell('$D convert --progress=json -O qcow2 top.qcow2 - | wc -c');
    expect(Number(stdout)).to.be.above(3 << 20);
    expect(stderr.trim().split('\n').at(-1)).to.equal('{"event":"completed"}');
  });

  it('refuses a closed standard output, and one that gets the messages, too', () => {
    const closed = shell('$D convert top.qcow2 - >&-');
    expect([closed.code, closed.stderr]).to.deep.equal([
      1,
      'diskwright: Standard output is closed, or ignored: redirect it to a file or a pipe\n',
    ]);
    expect(shell('$D convert top.qcow2 - > /dev/null 2>&1').code).to.equal(0);
    const words =
      'diskwright: Standard output and standard error go to the same place: messages would get into the image\n';
    shell('$D convert top.qcow2 - > both 2>&1');
    expect(readFileSync(shop.path('both'), 'utf8')).to.equal(words);
    expect(shell('$D convert top.qcow2 - 2>&1 | cat').stdout).to.equal(words);
  });

  it('gets percentages on standard error as they are', () => {
    const { code, stderr } = shell('$D convert -p -O raw top.qcow2 - | wc -c >/dev/null; exit $PIPESTATUS');
    expect(code).to.equal(0);
    expect(stderr).to.match(/^( {4}\(\d+\.\d\d\/100%\)\r)+\n$/);
  });

  it('refuses what cannot be, and writes nothing', () => {
    for (const words of [
      '-c',
      '-n',
      '-C',
      '-t none',
      '--bitmaps',
      '--salvage',
      '-o preallocation=full',
      '-o data_file=x',
      '-o nocow=on',
      '-o size=1M',
    ]) {
      const { stdout, stderr } = shell(`$D convert -O qcow2 ${words} top.qcow2 - | wc -c`);
      expect(stdout, words).to.equal('0\n');
      expect(stderr, words).to.match(/^diskwright: /);
    }
    for (const words of [
      '-O vmdk',
      '-O vmdk -o subformat=monolithicFlat',
      `${VMDK},backing_file=base.vmdk,backing_fmt=vmdk`,
      '-O vdi',
      '-O raw -c',
    ]) {
      const { stdout, stderr } = shell(`$D convert ${words} top.qcow2 - | wc -c`);
      expect(stdout, words).to.equal('0\n');
      expect(stderr, words).to.match(/^diskwright: /);
    }
  });

  it('is refused where it is a file of the source, and nothing is written', () => {
    shell(`mkdir own && cp base.qcow2 top.qcow2 own && cd own && ln top.qcow2 hard && ln -s base.qcow2 symbolic &&
           qemu-img convert -O qcow2 -o data_file=data,data_file_raw=on base.qcow2 apart`);
    const sums = () => shell('cd own && sha256sum *').stdout;
    const before = sums();
    for (const [words, file] of [
      ['-O raw top.qcow2', 'top.qcow2'],
      ['-O qcow2 top.qcow2', 'hard'],
      ['-U -O raw top.qcow2', 'symbolic'],
      ['-O qcow2 top.qcow2', 'base.qcow2'],
      ['-O raw apart', 'data'],
      ['-U -O qcow2 apart', 'apart'],
      ['-O qcow2 -B base.qcow2 -F qcow2 apart', 'base.qcow2'],
      ['-U --image-opts -O raw driver=raw,file.filename=data,file.locking=off', 'data'],
    ]) {
      for (const into of ['1<>', '>>']) {
        const line = `cd own && $D convert ${words} - ${into} ${file}`;
        const { code, stderr } = shell(line);
        expect(code, line).to.equal(1);
        expect(stderr, line).to.include('standard output goes to this file');
        expect(sums(), line).to.equal(before);
      }
    }
  });

  it('is a file by the name qemu-img', () => {
    expect(shop.shim('qemu-img', 'convert', '-O', 'raw', 'top.qcow2', '-').code).to.equal(0);
    same('./-', 'raw');
  });
});
