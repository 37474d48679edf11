// The HTTP client and proxies: the variables that name them, and what they do.

import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { expect } from 'chai';
import { isLeftOut } from '../../src/host/real/http/no-proxy.js';
import { proxyFor } from '../../src/host/real/http/proxy-variables.js';
import { failureOf } from '../drivers/support.js';
import { pooled } from '../support/beside.js';
import { requirePeer } from '../support/peers.js';
import { type Answered, answerOf, ask, clientWith, TestServer } from './http-support.js';
import { Authority } from './pki.js';

const MIB = 1 << 20;
const base64 = (text: string) => Buffer.from(text).toString('base64');

/** `no_proxy`, a host, and whether it is left out. */
const LEFT_OUT: readonly [string, string, boolean][] = [
  ['example.com', 'example.com', true],
  ['EXAMPLE.com', 'example.com', true],
  ['example.com', 'EXAMPLE.com', true],
  ['.example.com', 'example.com', true],
  ['.example.com', 'www.example.com', true],
  ['example.com', 'www.example.com', true],
  ['example.com', 'notexample.com', false],
  ['example.com:80', 'example.com', false],
  ['example.com.', 'example.com', true],
  ['example.com', 'example.com.', true],
  ['*', 'example.com', true],
  ['a,*', 'example.com', false],
  ['* ', 'example.com', false],
  ['*.example.com', 'www.example.com', false],
  ['..example.com', 'example.com', false],
  ['com', 'example.com', true],
  ['a,,example.com', 'example.com', true],
  ['a\texample.com ', 'example.com', true],
  ['a b;example.com', 'example.com', false],
  ['127.0.0.2', '127.0.0.2', true],
  ['127.0.0.0/8', '127.0.0.2', true],
  ['127.0.0.0/08', '127.0.0.2', true],
  ['127.0.0.0/30', '127.0.0.5', false],
  ['127.0.0.0/33', '127.0.0.2', false],
  ['127.0.0.0/0', '127.0.0.2', false],
  ['127.0.0.0/', '127.0.0.2', false],
  ['127.0.0.2/x', '127.0.0.2', true],
  ['127.0.1/8', '127.0.0.2', false],
  ['127', '127.0.0.2', false],
  ['.0.2', '127.0.0.2', false],
  ['127.0.0.2.', '127.0.0.2', false],
  ['::1', '[::1]', true],
  ['[::1]', '[::1]', false],
  ['::1/129', '[::1]', false],
  ['127.0.0.0/8', '[::1]', false],
];

describe('no_proxy', () => {
  it('names hosts as for curl', () => {
    const found = LEFT_OUT.map(([list, host]) => [list, host, isLeftOut(list, new URL(`http://${host}/`).hostname)]);
    expect(found).to.deep.equal(LEFT_OUT);
  });

  // curl 7.88 takes no addresses of IPv6 but single ones, which newer ones do.
  it('names addresses of IPv6, and ranges of them', () => {
    expect(isLeftOut('fe80::/10', '[fe80::1]')).to.equal(true);
    expect(isLeftOut('fe80::/10', '[fd00::1]')).to.equal(false);
    expect(isLeftOut('0:0:0:0:0:0:0:1', '[::1]')).to.equal(true);
  });

  it('names hosts as for the curl that is here', async function () {
    requirePeer(this, 'curl');
    const proxy = await TestServer.start((socket) => socket.end('HTTP/1.1 204 No Content\r\n\r\n'));
    try {
      const found = await pooled(LEFT_OUT, async ([list, host]) => {
        const env = { PATH: process.env['PATH'], no_proxy: list, http_proxy: `http://localhost:${proxy.port}` };
        const words = ['-s', '-o', '/dev/null', '-w', '%{http_code}', '--max-time', '10', '--resolve', '*:9:127.0.0.2'];
        const child = spawn('curl', [...words, `http://${host}:9/`], { env, stdio: ['ignore', 'pipe', 'ignore'] });
        let status = '';
        child.stdout.on('data', (bytes) => {
          status += bytes;
        });
        await new Promise((resolve) => child.on('close', resolve));
        return [list, host, status !== '204'];
      });
      expect(found).to.deep.equal(LEFT_OUT);
    } finally {
      await proxy.stop();
    }
  });
});

describe('variables for proxies', () => {
  const [http, https] = [new URL('http://a/'), new URL('https://a/')];

  it('hold a URL, of which all but the host may be missing', () => {
    for (const [value, origin, credentials] of [
      ['proxy', 'http://proxy:1080', null],
      ['proxy:80', 'http://proxy', null],
      ['HTTP://proxy:3128/', 'http://proxy:3128', null],
      ['https://proxy', 'https://proxy', null],
      ['http://[::1]:8080', 'http://[::1]:8080', null],
      ['http://me@proxy:1', 'http://proxy:1', 'me:'],
      ['http://me:@proxy:1', 'http://proxy:1', 'me:'],
      ['me:a%40b@proxy:1', 'http://proxy:1', 'me:a@b'],
    ] as const) {
      const found = proxyFor(http, { http_proxy: value })!;
      const known = found.credentials && Buffer.from(found.credentials).toString();
      expect([value, found.origin, known]).to.deep.equal([value, origin, credentials]);
    }
  });

  it('are read as curl does: by scheme, the lower case first, and no HTTP_PROXY', () => {
    const all = { HTTP_PROXY: 'h:1', HTTPS_PROXY: 's:1', ALL_PROXY: 'A:1' };
    const origins = (env: NodeJS.ProcessEnv) => [http, https].map((url) => proxyFor(url, env)?.origin);
    expect(origins(all)).to.deep.equal(['http://a:1', 'http://s:1']);
    expect(origins({ ...all, http_proxy: 'x:1', https_proxy: 'y:1' })).to.deep.equal(['http://x:1', 'http://y:1']);
    expect(origins({ ...all, http_proxy: '', NO_PROXY: 'a' })).to.deep.equal([undefined, undefined]);
    expect(origins({ http_proxy: 'x:1' })).to.deep.equal(['http://x:1', undefined]);
  });

  for (const [value, code] of [
    ['socks5h://me:hidden@127.0.0.1:1', 'unsupported'],
    ['socks9://127.0.0.1:1', 'unsupported'],
    ['http://[::1', 'invalid-argument'],
    ['http://', 'invalid-argument'],
    ['ht tp://hidden', 'unsupported'],
    ['http://127.0.0.1:99999', 'invalid-argument'],
    ['http://hidden b:8899', 'invalid-argument'],
  ] as const) {
    for (const [name, url] of [
      ['http_proxy', 'http://a/'],
      ['https_proxy', 'https://a/'],
      ['all_proxy', 'http://a/'],
    ] as const) {
      it(`${name}=${value} is refused by its name alone, once it is used`, async () => {
        const client = clientWith({ [name]: value });
        const error = await failureOf(ask(client, url));
        expect([
          error.code,
          error.message.includes(`variable ${name}`),
          error.message.includes('hidden'),
        ]).to.deep.equal([code, true, false]);
        const unused = clientWith({ [name]: value, no_proxy: 'localhost', HTTP_PROXY: value });
        expect((await failureOf(ask(unused, 'http://localhost:1/'))).code).to.equal('io');
        await Promise.all([client.close(), unused.close()]);
      });
    }
  }
});

describe('a proxy', () => {
  let authority: Authority;
  before(function () {
    requirePeer(this, 'openssl');
    authority = new Authority();
  });
  after(() => authority?.remove());

  const urls = ['http://far.example/', 'https://far.example/'];
  const through = (port: number) => ({ http_proxy: `localhost:${port}`, https_proxy: `localhost:${port}` });

  for (const url of urls) {
    it(`that does not answer is given up after the time that was asked for: ${url}`, async () => {
      const proxy = await TestServer.start(() => undefined);
      const client = clientWith(through(proxy.port), { timeoutMs: 300 });
      const error = await failureOf(ask(client, url));
      expect([error.code, error.errno]).to.deep.equal(['io', 'ETIMEDOUT']);
      await client.close();
      await proxy.stop();
    });

    it(`that closes the connection fails the request: ${url}`, async () => {
      const proxy = await TestServer.start((socket) => socket.end());
      const client = clientWith(through(proxy.port));
      expect((await failureOf(ask(client, url))).code).to.equal('io');
      expect(proxy.connections).to.equal(1);
      await client.close();
      await proxy.stop();
    });

    for (const status of [302, 407, 503]) {
      it(`that refuses gives its status, ${status}, as the answer: ${url}`, async () => {
        const proxy = await TestServer.start((socket) =>
          socket.end(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`),
        );
        const client = clientWith(through(proxy.port));
        expect((await ask(client, url)).status).to.equal(status);
        await client.close();
        await proxy.stop();
      });
    }

    it(`gets the credentials of its URL, or those that were given: ${url}`, async () => {
      const proxy = await TestServer.start((socket) => socket.end('HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n'));
      for (const [proxyCredentials, sent] of [
        [null, 'me:'],
        [Buffer.from('you:x'), 'you:x'],
      ] as const) {
        proxy.received = '';
        const address = `http://me@localhost:${proxy.port}`;
        const client = clientWith({ http_proxy: address, https_proxy: address }, { proxyCredentials });
        await ask(client, url);
        expect(proxy.received).to.match(new RegExp(`^proxy-authorization: Basic ${base64(sent)}\r$`, 'im'));
        await client.close();
      }
      await proxy.stop();
    });
  }

  it('that opens a tunnel to a server that does not shake hands is given up, too', async () => {
    const proxy = await TestServer.start((socket, head) => {
      if (head.startsWith('CONNECT')) socket.write('HTTP/1.1 200 OK\r\n\r\n');
    });
    const client = clientWith(through(proxy.port), { timeoutMs: 300 });
    const error = await failureOf(ask(client, urls[1]));
    expect([error.code, error.errno]).to.deep.equal(['io', 'ETIMEDOUT']);
    await client.close();
    await proxy.stop();
  });

  it('over TLS shows a certificate of its own name, and is asked for http and https', async () => {
    const own = authority.issue('/CN=localhost', 'subjectAltName=DNS:localhost');
    const server = await TestServer.start((socket) => socket.write(answerOf('far'.repeat(MIB))), {
      ...authority.issue('/CN=far', 'subjectAltName=DNS:far.example'),
    });
    const proxy = await TestServer.start((socket, head) => {
      if (!head.startsWith('CONNECT')) return void socket.write(answerOf('near'));
      socket.removeAllListeners('data');
      const onward = connect(server.port, 'localhost', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        onward.pipe(socket).pipe(onward);
      });
      onward.on('error', () => socket.destroy());
    }, own);
    const address = `https://localhost:${proxy.port}`;
    const env = { http_proxy: address, https_proxy: address, SSL_CERT_FILE: `${authority.folder}/ca.pem` };
    const client = clientWith(env);
    const answers: Answered[] = [];
    for (const url of urls) answers.push(await ask(client, url));
    expect(answers.map(({ body }) => body.length)).to.deep.equal(['near'.length, 3 * MIB]);
    expect(answers[1].body === 'far'.repeat(MIB)).to.equal(true);
    expect(proxy.received).to.match(/^GET http:\/\/far\.example\/ HTTP\/1\.1\r\nhost: far\.example\r$/im);
    expect(proxy.received).to.match(/^CONNECT far\.example:443 HTTP\/1\.1\r\nhost: far\.example:443\r$/im);
    await client.close();
    await proxy.stop();
    await server.stop();
  });
});
