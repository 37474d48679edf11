// Images on another machine, over SSH: an sshd on this host, beside qemu-img, which reaches it through libssh, and ssh itself, which says whether a server is known.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import { different, outcomeOf, runBeside } from '../support/beside.js';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';
import { CuttingProxy } from '../support/cutting-proxy.js';
import { requirePeer } from '../support/peers.js';
import { DAY, SOAK, seedsOf, spanOf, timeLimit } from '../support/sample.js';
import { type HostKeyType, Sshd } from '../support/sshd.js';

/** So many of them, others each day; all in a soak. */
function turns<T>(all: readonly T[], count: number): T[] {
  if (SOAK) return [...all];
  return Array.from({ length: count }, (_, index) => all[(DAY * count + index) % all.length]);
}

describe('images over SSH', function () {
  this.timeout(120_000);
  let shop: Workshop;
  let sshd: Sshd;
  const folders: string[] = [];
  const servers: Sshd[] = [];

  before(async function () {
    for (const peer of ['sshd', 'ssh-agent', 'qemu-img', 'block-ssh.so']) requirePeer(this, peer);
    shop = await Workshop.open();
    sshd = await serve({ hostKeys: ['ed25519', 'rsa'] });
    const image = join(sshd.files, 'disk.qcow2');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', image, '16M');
    shop.qemuIo(image, 'write -P 7 1M 3M', 'write -P 9 10M 2M', 'write -z 14M 1M');
    shop.must('qemu-img', 'convert', '-O', 'raw', image, 'whole.raw');
    copyFileSync(shop.path('whole.raw'), join(sshd.files, 'whole.raw'));
    shop.must('qemu-img', 'convert', '-O', 'vmdk', image, join(sshd.files, 'disk.vmdk'));
    for (const name of ['odd.raw', 'a b%q.raw']) writeFileSync(join(sshd.files, name), Buffer.alloc(100_001, 3));
    writeFileSync(join(sshd.files, 'empty.raw'), '');
  });

  after(async () => {
    for (const server of servers) await server.stop();
    shop?.remove();
    for (const folder of folders) rmSync(folder, { recursive: true, force: true });
  });

  async function serve(options: Parameters<typeof Sshd.start>[1], like?: Sshd): Promise<Sshd> {
    folders.push(mkdtempSync(join(tmpdir(), 'diskwright-sshd-')));
    const server = await Sshd.start(folders[folders.length - 1], options, like);
    servers.push(server);
    return server;
  }

  const ours = (...args: string[]): Promise<Outcome> =>
    outcomeOf(process.execPath, [shop.bundle, ...args], shop.folder, sshd.env);
  const theirs = async (...args: string[]): Promise<Outcome> =>
    asOurs(await outcomeOf('qemu-img', args, shop.folder, sshd.env), args[0]);
  const isDone = async (...args: string[]): Promise<void> => {
    expect(await ours(...args), args.join(' ')).to.include({ code: 0, stderr: '' });
  };
  const same = (name: string, as = 'whole.raw'): void => {
    expect(Buffer.compare(readFileSync(name), readFileSync(shop.path(as)))).to.equal(0);
  };

  describe('beside qemu-img', () => {
    const COMMANDS: readonly string[][] = [
      ['info', '~disk.qcow2?host_key_check=no'],
      ['info', '--output=json', '~disk.qcow2?host_key_check=no'],
      ['info', '~odd.raw?host_key_check=no'],
      ['info', '-f', 'vmdk', '~disk.vmdk?host_key_check=no'],
      [
        'info',
        '--image-opts',
        'driver=qcow2,file.driver=ssh,file.host=127.0.0.1,file.port=%,file.path=$disk.qcow2,file.host_key_check=no',
      ],
      ['info', '--image-opts', 'driver=ssh,host=127.0.0.1,port=%,path=$disk.qcow2,host_key_check=no'],
      ['map', '--output=json', '~disk.qcow2?host_key_check=no'],
      ['map', '--output=json', '-f', 'raw', '~odd.raw?host_key_check=no'],
      ['check', '~disk.qcow2?host_key_check=no'],
      ['measure', '-O', 'qcow2', '~disk.qcow2?host_key_check=no'],
      ['compare', '~disk.qcow2?host_key_check=no', 'whole.raw'],
      ['info', '~disk.qcow2?host_key_check=sha256:00'],
      ['info', '~disk.qcow2?host_key_check=md5:a:b'],
      ['info', '~disk.qcow2?host_key_check=sha1:'],
      ['info', '~disk.qcow2?host_key_check=maybe'],
      ['info', 'ssh:disk'],
      ['info', 'ssh:///disk'],
      ['info', 'ssh://127.0.0.1'],
      ['info', 'ssh://127.0.0.1:1/x?host_key_check=no'],
      ['info', 'ssh://host.invalid/x?host_key_check=no'],
      ['info', 'ssh://nobody-here@127.0.0.1:%$disk.qcow2?host_key_check=no'],
      ['info', '--image-opts', 'driver=ssh,host=127.0.0.1'],
      ['info', '--image-opts', 'driver=ssh,path=/x'],
      ['info', '--image-opts', 'driver=ssh,server.host=127.0.0.1,server.port=x,path=/x'],
      ['info', '--image-opts', 'driver=ssh,host=127.0.0.1,path=/x,host-key-check.mode=x'],
      ['info', '--image-opts', 'driver=ssh,host=127.0.0.1,path=/x,host-key-check.mode=hash'],
      ['resize', '-f', 'raw', '--preallocation=full', '~odd.raw?host_key_check=no', '2M'],
      ['info', '~nothing?host_key_check=no'],
      ['create', '-f', 'raw', '~none/new.raw?host_key_check=no', '1M'],
    ];

    it('gives the same answers', async () => {
      const commands = COMMANDS.map((words) =>
        words.map((word) =>
          word.replace('~', 'ssh://127.0.0.1:%$').replace('%', String(sshd.port)).replace('$', `${sshd.files}/`),
        ),
      );
      const pairs = await runBeside(
        shop,
        commands.map((words) => ({ ours: words, theirs: words })),
        sshd.env,
      );
      // What libssh says in front of the server's words is its own.
      const plain = (text: string) => text.replace('SFTP server: ', '').replace('libssh error code: 1, ', '');
      const compared = pairs.map((pair) => ({
        ...pair,
        theirs: { ...pair.theirs, stderr: plain(pair.theirs.stderr) },
      }));
      expect(different(compared)).to.deep.equal([]);
    });

    for (const [what, format, ...words] of [
      ['raw', 'raw', '1M'],
      ['raw of an odd size', 'raw', '1000'],
      ['qcow2', 'qcow2', '64M'],
      ['an overlay', 'qcow2', '-b', '@disk.qcow2', '-F', 'qcow2'],
      ['vmdk', 'vmdk', '8M'],
    ]) {
      it(`create ${what}: the same lines, and the same file`, async () => {
        const made: Buffer[] = [];
        const lines: Outcome[] = [];
        for (const [name, tool] of [
          ['ours', ours],
          ['their', theirs],
        ] as const) {
          const args = words.map((word) => (word.startsWith('@') ? sshd.url(word.slice(1)) : word));
          const outcome = await tool('create', '-f', format, sshd.url(`new-${name}`), ...args);
          lines.push({ ...outcome, stdout: outcome.stdout.replaceAll(`new-${name}`, 'new') });
          made.push(readFileSync(join(sshd.files, `new-${name}`)));
        }
        expect(lines[0]).to.deep.equal(lines[1]);
        if (format === 'raw') expect(made[0].equals(made[1])).to.equal(true);
        expect((await theirs('info', '-f', format, sshd.url('new-ours'))).code).to.equal(0);
      });
    }
  });

  for (const format of ['raw', 'qcow2', ...turns(['vmdk', 'vpc', 'vhdx', 'vdi', 'qed'], 1)]) {
    it(`convert to ${format} and back: the same bytes, which qemu-img reads, too`, async () => {
      const target = sshd.url(`copy.${format}`);
      const size = format === 'vpc' ? ['-o', 'force_size=on'] : [];
      await isDone('convert', '-O', format, ...size, sshd.url('disk.qcow2'), target);
      await isDone('convert', '-f', format, '-O', 'raw', target, 'back.raw');
      same(shop.path('back.raw'));
      expect((await theirs('compare', '-f', format, target, 'whole.raw')).code).to.equal(0);
      shop.must('qemu-img', 'convert', '-f', format, '-O', 'raw', join(sshd.files, `copy.${format}`), 'local.raw');
      same(shop.path('local.raw'));
    });
  }

  it('is as long as the same image in a file', async () => {
    await isDone('convert', '-O', 'qcow2', 'whole.raw', sshd.url('long.qcow2'));
    await isDone('convert', '-O', 'qcow2', 'whole.raw', 'long.qcow2');
    expect(statSync(join(sshd.files, 'long.qcow2')).size).to.equal(statSync(shop.path('long.qcow2')).size);
  });

  it('is the base of an overlay, which is written to, committed and streamed into', async () => {
    copyFileSync(join(sshd.files, 'disk.qcow2'), join(sshd.files, 'base.qcow2'));
    copyFileSync(shop.path('whole.raw'), shop.path('wanted.raw'));
    shop.must('qemu-io', '-f', 'raw', '-c', 'write -P 5 2M 64k', 'wanted.raw');
    const overlay = ['create', '-q', '-f', 'qcow2', '-b', sshd.url('base.qcow2'), '-F', 'qcow2', 'over.qcow2'];
    expect((await theirs(...overlay)).code).to.equal(0);
    expect((await ours('io', '-c', 'write -P 5 2M 64k', 'over.qcow2')).code).to.equal(0);
    expect((await ours('compare', 'over.qcow2', 'wanted.raw')).code).to.equal(0);
    expect((await ours('commit', 'over.qcow2')).code).to.equal(0);
    expect((await theirs('compare', sshd.url('base.qcow2'), 'wanted.raw')).code).to.equal(0);
    expect((await ours('rebase', '-b', '', 'over.qcow2')).code).to.equal(0);
    expect((await ours('compare', 'over.qcow2', 'wanted.raw')).code).to.equal(0);
  });

  it('is the target of a mirror and of a backup', async () => {
    for (const verb of ['mirror', 'backup']) {
      const target = sshd.url(`${verb}.qcow2`);
      const outcome = await ours(verb, `--target=${target}`, '--format=qcow2', join(sshd.files, 'disk.qcow2'));
      expect(outcome.code, outcome.stderr).to.equal(0);
      expect((await ours('compare', target, 'whole.raw')).code).to.equal(0);
      expect(shop.run('qemu-img', 'check', join(sshd.files, `${verb}.qcow2`)).code).to.equal(0);
    }
  });

  it('grows, shrinks, and takes what is written', async () => {
    writeFileSync(join(sshd.files, 'size.raw'), Buffer.alloc(1000, 1));
    const size = () => statSync(join(sshd.files, 'size.raw')).size;
    expect((await ours('resize', '-f', 'raw', sshd.url('size.raw'), '3M')).code).to.equal(0);
    expect(size()).to.equal(3 << 20);
    expect(
      (await ours('io', '-f', 'raw', '-c', 'write -P 6 2M 1M', '-c', 'flush', sshd.url('size.raw'))).code,
    ).to.equal(0);
    const bytes = readFileSync(join(sshd.files, 'size.raw'));
    expect([bytes[999], bytes[1000], bytes[(2 << 20) - 1], bytes[2 << 20]]).to.deep.equal([1, 0, 0, 6]);
    expect((await ours('resize', '--shrink', '-f', 'raw', sshd.url('size.raw'), '1M')).code).to.equal(0);
    expect(size()).to.equal(1 << 20);
  });

  it('refuses a target that is the source, before it is emptied', async () => {
    copyFileSync(join(sshd.files, 'disk.qcow2'), join(sshd.files, 'self.qcow2'));
    const outcome = await ours(
      'convert',
      '-O',
      'qcow2',
      sshd.url('self.qcow2'),
      sshd.url('self.qcow2', '?host_key_check=no&x=1'),
    );
    expect([outcome.code, outcome.stderr.includes('lock')], outcome.stderr).to.deep.equal([1, true]);
    expect((await ours('compare', sshd.url('self.qcow2'), 'whole.raw')).code).to.equal(0);
  });

  it('prints names that open the file again', async () => {
    const { stdout } = await ours('info', '-f', 'raw', '--output=json', sshd.url('a%20b%25q.raw'));
    const { filename } = JSON.parse(stdout);
    expect(await ours('info', '-f', 'raw', '--output=json', filename)).to.deep.include({ code: 0, stdout });
  });

  it('warns of a server that cannot make durable what is written, as qemu-img does', async () => {
    const server = await serve({ sftpWords: '-P fsync' }, sshd);
    const command = ['convert', '-O', 'qcow2', 'whole.raw', server.url('copy.qcow2')];
    expect(await ours(...command)).to.deep.equal(await theirs(...command));
  });

  it('opens a file that cannot be written to, for reading alone', async () => {
    const server = await serve({ sftpWords: '-R' }, sshd);
    copyFileSync(join(sshd.files, 'disk.qcow2'), join(server.files, 'disk.qcow2'));
    expect((await ours('compare', server.url('disk.qcow2'), 'whole.raw')).code).to.equal(0);
    const write = ['io', '-c', 'write 0 512', server.url('disk.qcow2')];
    expect((await ours(...write)).stderr).to.include('Permission denied (sftp error code: 3)');
  });

  it('logs in by the agent, and by a key without passphrase; names one that has one', async () => {
    const as = (env: NodeJS.ProcessEnv) =>
      outcomeOf(process.execPath, [shop.bundle, 'info', sshd.url('disk.qcow2')], shop.folder, {
        HOME: sshd.home,
        ...env,
      });
    expect((await as({ SSH_AUTH_SOCK: sshd.agent })).code).to.equal(0);
    const refused = await as({ SSH_AUTH_SOCK: join(sshd.home, 'nobody') });
    expect([refused.code, refused.stderr.includes('failed to authenticate')], refused.stderr).to.deep.equal([1, true]);
    const path = sshd.installKey('secret');
    expect((await as({ SSH_AUTH_SOCK: '' })).stderr).to.include(`${path} has a passphrase`);
    sshd.installKey('');
    expect((await as({ SSH_AUTH_SOCK: '' })).code).to.equal(0);
    rmSync(path);
  });

  describe('over a way that is cut', () => {
    const SEEDS = seedsOf({ fixed: 1, daily: 1, soak: 300 });
    const BYTES = 6 << 20;

    it(`reads all the same, and never writes less than it says (${spanOf(SEEDS)})`, async function () {
      this.timeout(timeLimit(120_000));
      for (const seed of SEEDS) {
        const random = new Random(seed, 70);
        const content = Buffer.alloc(BYTES).map((_, at) => (at * 7 + (at >> 10) * seed) & 0xff);
        for (const path of [shop.path('cut.raw'), join(sshd.files, 'cut.raw')]) writeFileSync(path, content);
        const cuts = { least: 64 << 10, most: BYTES, times: random.below(4) };
        const proxy = await CuttingProxy.start(sshd.port, random, cuts);
        const said = (outcome: Outcome) => `seed ${seed}, ${proxy.cut} cuts: ${outcome.stderr}`;
        try {
          const url = (name: string) => sshd.url(name, '?host_key_check=no', proxy.port);
          const read = await ours('compare', '-f', 'raw', '-F', 'raw', url('cut.raw'), 'cut.raw');
          // A connection that is cut before it was first there is not made again: whoever opens the image does that.
          if (read.code !== 0) expect([read.code, proxy.cut > 0], said(read)).to.deep.equal([2, true]);
          const written = await ours('convert', '-f', 'raw', '-O', 'raw', 'cut.raw', url('written.raw'));
          if (written.code === 0) same(join(sshd.files, 'written.raw'), 'cut.raw');
          else
            expect(
              [written.code, proxy.cut > 0, /the connection to/.test(written.stderr)],
              said(written),
            ).to.deep.equal([1, true, true]);
        } finally {
          await proxy.stop();
        }
      }
    });

    it('goes on over a new connection', async () => {
      const content = Buffer.alloc(BYTES, 5);
      for (const path of [shop.path('cut.raw'), join(sshd.files, 'cut.raw')]) writeFileSync(path, content);
      const proxy = await CuttingProxy.start(sshd.port, new Random(1), { least: 1 << 20, most: 2 << 20, times: 2 });
      try {
        const url = sshd.url('cut.raw', '?host_key_check=no', proxy.port);
        await isDone('convert', '-f', 'raw', '-O', 'raw', url, 'read.raw');
        same(shop.path('read.raw'), 'cut.raw');
        expect(proxy.cut).to.equal(2);
      } finally {
        await proxy.stop();
      }
    });
  });

  describe('known servers', () => {
    let other: Sshd;
    before(async () => {
      other = await serve({ hostKeys: ['ed25519'] }, sshd);
    });

    const key = (type: HostKeyType = 'ed25519') => sshd.publicKey(type);
    const here = () => `[127.0.0.1]:${sshd.port}`;
    const NOT_FOUND = 'no host key was found in known_hosts';
    const CHANGED = 'does not match the one in known_hosts; this may be a possible attack';
    const cases: [string, () => string, string?][] = [
      ['no line', () => '', NOT_FOUND],
      ['its line', () => `${here()} ${key()}`],
      ['the key of another kind', () => `${here()} ${key('rsa')}`],
      [
        'a kind of key that it does not have',
        () => `${here()} ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==`,
        'another type exists',
      ],
      ['another key', () => `${here()} ${other.publicKey()}`, CHANGED],
      ['another key, and its own', () => `${here()} ${other.publicKey()}\n${here()} ${key()}`],
      ['comments, blanks and a list', () => `# x\n\n   a,${here()},b ${key()} somebody@somewhere`],
      ['a pattern', () => `[127.0.*]:${sshd.port} ${key()}`],
      ['a pattern for one character', () => `[127.0.0.?]:${sshd.port} ${key()}`],
      ['a pattern that leaves it out', () => `[*]:${sshd.port},!${here()} ${key()}`, NOT_FOUND],
      ['a revoked key', () => `${here()} ${key()}\n@revoked * ${key()}`, 'is revoked in known_hosts'],
      ['a key of an authority', () => `@cert-authority ${here()} ${key()}`, NOT_FOUND],
      ['a damaged line', () => `${here()} ssh-ed25519 AAAA`, NOT_FOUND],
    ];
    for (const [what, text, refusal] of turns(cases, 5)) {
      it(`${what}: ${refusal === undefined ? 'taken' : 'refused'}, as by ssh`, async () => {
        sshd.setKnown(text());
        const known = [
          '-o',
          `UserKnownHostsFile=${sshd.home}/.ssh/known_hosts`,
          '-o',
          'GlobalKnownHostsFile=/dev/null',
        ];
        const strict = ['-o', 'StrictHostKeyChecking=yes', '-o', 'BatchMode=yes', '-F', 'none'];
        const where = ['-p', String(sshd.port), '127.0.0.1', 'true'];
        const { code } = await outcomeOf('ssh', [...known, ...strict, ...where], shop.folder, sshd.env);
        expect(code === 0, 'ssh').to.equal(refusal === undefined);
        const { code: own, stderr } = await ours('info', sshd.url('disk.qcow2', ''));
        expect(own, stderr).to.equal(refusal === undefined ? 0 : 1);
        if (refusal !== undefined) expect(stderr).to.include(refusal);
      });
    }

    // ssh takes it; libssh, and so QEMU, does not.
    it('the key of the usual port: refused', async () => {
      sshd.setKnown(`127.0.0.1 ${key()}`);
      expect((await ours('info', sshd.url('disk.qcow2', ''))).stderr).to.include(NOT_FOUND);
    });

    it('a line with a hashed name: taken', async () => {
      sshd.setKnown(`${here()} ${key()}\n`);
      shop.must('ssh-keygen', '-q', '-H', '-f', `${sshd.home}/.ssh/known_hosts`);
      expect(readFileSync(`${sshd.home}/.ssh/known_hosts`, 'latin1')).to.match(/^\|1\|/);
      await isDone('compare', sshd.url('disk.qcow2', ''), 'whole.raw', '-q');
    });
  });
});
