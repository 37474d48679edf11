// Images on a web server that is not ours, beside qemu-img, which reads them through curl.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { outcomeOf } from '../support/beside.js';
import { asOurs, type Outcome, Workshop } from '../support/cli.js';
import { Nginx } from '../support/nginx.js';
import { requirePeer } from '../support/peers.js';
import { TestProxy } from '../support/proxy.js';

describe('images over HTTP', function () {
  this.timeout(120_000);
  let shop: Workshop;
  let nginx: Nginx;
  let folder: string;

  before(async function () {
    for (const peer of ['nginx', 'openssl', 'qemu-img']) requirePeer(this, peer);
    shop = await Workshop.open();
    folder = mkdtempSync(join(tmpdir(), 'diskwright-nginx-'));
    nginx = await Nginx.start(folder);
    const image = join(nginx.files, 'disk.qcow2');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', image, '64M');
    shop.qemuIo(image, 'write -P 7 1M 3M', 'write -P 9 40M 5M', 'write -z 50M 1M');
    shop.must('qemu-img', 'convert', '-O', 'raw', image, 'whole.raw');
    copyFileSync(shop.path('whole.raw'), join(nginx.files, 'whole.raw'));
    shop.must('qemu-img', 'convert', '-O', 'vmdk', image, join(nginx.files, 'disk.vmdk'));
    writeFileSync(join(nginx.files, 'odd.raw'), Buffer.alloc(100_001, 3));
    writeFileSync(join(nginx.files, 'empty.raw'), '');
    writeFileSync(join(nginx.files, 'back\\slash.raw'), Buffer.alloc(512));
  });

  after(async () => {
    await nginx?.stop();
    shop?.remove();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
  });

  /** Our command with variables of its own. Servers of this process can answer meanwhile. */
  const oursWith = (env: NodeJS.ProcessEnv, ...args: string[]): Promise<Outcome> =>
    outcomeOf(process.execPath, [shop.bundle, ...args], shop.folder, env);

  describe('beside qemu-img', () => {
    const commands: [string, string[]][] = [
      ['info of qcow2', ['info', '@/disk.qcow2']],
      ['info as JSON', ['info', '--output=json', '@/disk.qcow2']],
      ['info of a size that is no multiple of 512', ['info', '@/odd.raw']],
      ['info of vmdk', ['info', '-f', 'vmdk', '--output=json', '@/disk.vmdk']],
      ['info after redirections', ['info', '@/moved/disk.qcow2']],
      ['map', ['map', '--output=json', '@/disk.qcow2']],
      ['map of raw', ['map', '--output=json', '-f', 'raw', '@/odd.raw']],
      ['check', ['check', '-q', '@/disk.qcow2']],
      ['a server without ranges', ['info', '@/whole/disk.qcow2']],
      ['a file that is not there', ['info', '@/nothing']],
      ['a file for others', ['info', '@/private/disk.qcow2']],
      ['resize', ['resize', '@/odd.raw', '2M']],
      ['create', ['create', '-f', 'qcow2', '@/new.qcow2', '1M']],
      ['convert -n onto it', ['convert', '-n', '-f', 'raw', '-O', 'raw', 'whole.raw', '@/odd.raw']],
      ['another scheme than the driver', ['info', '--image-opts', 'driver=https,url=@/disk.qcow2']],
      ['two kinds of cookies', ['info', '--image-opts', 'driver=http,url=@/odd.raw,cookie=a,cookie-secret=b']],
      ['an odd readahead', ['info', '--image-opts', 'driver=http,url=@/odd.raw,readahead=100']],
      ['a readahead with a suffix', ['info', '--image-opts', 'driver=http,url=@/odd.raw,readahead=1k']],
      ['a backslash in a URL', ['info', '@/back\\slash.raw']],
      ['a query and a fragment', ['info', '@/odd.raw?a=b#c']],
      [
        'the name of what has options of its own',
        [
          ...[
            'info',
            '--output=json',
            '--object',
            'secret,id=s,data=x',
            '--object',
            'secret,id=p,data=x',
            '--image-opts',
          ],
          'driver=http,url=@/odd.raw,username=u,password-secret=s,proxy-username=u,proxy-password-secret=p,cookie=c=d',
        ],
      ],
      ['a long timeout', ['info', '--image-opts', 'driver=http,url=@/odd.raw,timeout=100000']],
    ];
    for (const [what, words] of commands) {
      it(`${what}: the same answer`, () => {
        const args = words.map((word) => word.replace('@', nginx.plain));
        const theirs = asOurs(shop.qemuImg(...args));
        // What stands in front is curl's; GLib's complaints are QEMU's own.
        const stderr = theirs.stderr.replace('CURL: Error opening file: ', '').replace(/^diskwright: GLib: .*\n/gm, '');
        expect(shop.ours(...args)).to.deep.equal({ ...theirs, stderr });
      });
    }
  });

  // Debian's qemu-img does not end when it converts such an image: the bytes are compared with those of the file.
  for (const [name, words] of [
    ['disk.qcow2', []],
    ['disk.qcow2', ['-m', '16', '-W']],
    ['disk.vmdk', []],
    ['whole.raw', ['-f', 'raw']],
    ['moved/disk.qcow2', []],
  ] as [string, string[]][]) {
    it(`convert ${words.join(' ')} ${name}: the bytes of the file`, () => {
      const outcome = shop.ours('convert', ...words, '-O', 'raw', `${nginx.plain}/${name}`, 'out.raw');
      expect(outcome).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      expect(Buffer.compare(readFileSync(shop.path('out.raw')), readFileSync(shop.path('whole.raw')))).to.equal(0);
      expect(shop.ours('compare', `${nginx.plain}/${name}`, 'whole.raw').code).to.equal(0);
    });
  }

  it('is the base of an overlay, which is read, written to and streamed into', () => {
    shop.must(
      'qemu-img',
      'create',
      '-q',
      '-f',
      'qcow2',
      '-b',
      `${nginx.plain}/disk.qcow2`,
      '-F',
      'qcow2',
      'over.qcow2',
    );
    expect(shop.ours('io', '-c', 'write -P 5 2M 64k', 'over.qcow2').code).to.equal(0);
    copyFileSync(shop.path('whole.raw'), shop.path('wanted.raw'));
    shop.must('qemu-io', '-f', 'raw', '-c', 'write -P 5 2M 64k', 'wanted.raw');
    expect(shop.ours('compare', 'over.qcow2', 'wanted.raw').code).to.equal(0);
    expect(shop.ours('rebase', '-b', '', 'over.qcow2').code).to.equal(0);
    expect(shop.ours('compare', '-f', 'qcow2', 'over.qcow2', 'wanted.raw').code).to.equal(0);
    expect(shop.ours('info', 'over.qcow2').stdout).not.to.include('backing');
  });

  it('is read with a name and a password, of the URL or of a secret, and with a cookie', () => {
    const host = nginx.plain.slice('http://'.length);
    expect(shop.ours('info', `http://me:pass%20word@${host}/private/disk.qcow2`).code).to.equal(0);
    const options = `driver=qcow2,file.driver=http,file.url=${nginx.plain}/private/disk.qcow2,file.username=me`;
    const secret = ['--object', 'secret,id=s,data=pass word'];
    expect(shop.ours('info', ...secret, '--image-opts', `${options},file.password-secret=s`).code).to.equal(0);
    expect(shop.ours('info', '--image-opts', options).stderr).to.include('error: 401');
    const cookie = `driver=qcow2,file.driver=http,file.url=${nginx.plain}/cookie/disk.qcow2`;
    expect(shop.ours('info', '--image-opts', cookie).stderr).to.include('error: 403');
    expect(shop.ours('info', '--image-opts', `${cookie},file.cookie=key=value`).code).to.equal(0);
  });

  it('goes through a proxy, plain and in a tunnel, with a name and a password of its own', async () => {
    const proxy = await TestProxy.start('me:secret');
    try {
      const env = { http_proxy: proxy.url, https_proxy: proxy.url, SSL_CERT_FILE: nginx.certificate };
      for (const at of [nginx.plain, nginx.tls]) {
        const refused = await oursWith(env, 'info', `${at}/disk.qcow2`);
        const text = `diskwright: Could not open '${at}/disk.qcow2': The requested URL returned error: 407\n`;
        expect([refused.code, refused.stderr]).to.deep.equal([1, text]);
      }
      for (const [driver, at, how] of [
        ['http', nginx.plain, 'GET'],
        ['https', nginx.tls, 'CONNECT'],
      ] as const) {
        proxy.seen.length = 0;
        const file = `file.driver=${driver},file.url=${at}/disk.qcow2,file.proxy-username=me,file.proxy-password-secret=s`;
        const words = ['info', '--object', 'secret,id=s,data=secret', '--image-opts', `driver=qcow2,${file}`];
        const outcome = await oursWith(env, ...words);
        expect([outcome.code, outcome.stderr]).to.deep.equal([0, '']);
        expect(proxy.seen).to.include(how);
        proxy.seen.length = 0;
        expect((await oursWith({ ...env, no_proxy: 'localhost,127.0.0.1' }, ...words)).code).to.equal(0);
        expect(proxy.seen).to.deep.equal([]);
      }
    } finally {
      await proxy.stop();
    }
  });

  it('ends where redirections go round', () => {
    expect(shop.ours('info', `${nginx.plain}/round/x`).stderr).to.include('more than 10 redirections');
  });

  it('is refused over TLS where the certificate is not valid, unless the user says so', async () => {
    const url = `${nginx.tls}/disk.qcow2`;
    const refused = await oursWith({}, 'info', url);
    expect([refused.code, refused.stderr]).to.satisfy(
      ([code, text]: [number, string]) =>
        code === 1 && text.includes('certificate of localhost') && text.includes('is not valid'),
    );
    const trusted = await oursWith({ SSL_CERT_FILE: nginx.certificate }, 'info', url);
    expect(trusted.code, trusted.stderr).to.equal(0);
    const options = `driver=qcow2,file.driver=https,file.url=${url},file.sslverify=off`;
    expect((await oursWith({}, 'info', '--image-opts', options)).code).to.equal(0);
  });
});
