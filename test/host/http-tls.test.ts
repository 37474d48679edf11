// The HTTP client and TLS: whom it trusts, and how it says that it does not; and what it leaves behind.

import { writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { failureOf } from '../drivers/support.js';
import { requirePeer } from '../support/peers.js';
import { answerOf, ask, clientWith, TestServer } from './http-support.js';
import { Authority, type Certificate } from './pki.js';

const tls = process.getBuiltinModule('node:tls');

describe('http over TLS', () => {
  let authority: Authority;
  let good: Certificate;
  let trusted: NodeJS.ProcessEnv;

  before(function () {
    requirePeer(this, 'openssl');
    authority = new Authority();
    good = authority.issue('/CN=localhost', 'subjectAltName=DNS:localhost');
    trusted = { SSL_CERT_FILE: join(authority.folder, 'ca.pem') };
  });
  after(() => authority?.remove());

  /** What a request of a server with this certificate ends with. */
  async function outcome(certificate: Certificate | undefined, env: NodeJS.ProcessEnv, verify = true) {
    const server = await TestServer.start((socket) => socket.end(answerOf('hello')), certificate);
    const client = clientWith(env, { verify });
    const error = await failureOf(ask(client, `https://localhost:${server.port}/`).then(({ body }) => body));
    await client.close();
    await server.stop();
    return error;
  }

  for (const [what, make] of [
    ['another name', () => authority.issue('/CN=x', 'subjectAltName=DNS:other.example')],
    ['a date that has passed', () => authority.issue('/CN=localhost', 'subjectAltName=DNS:localhost', -1)],
    [
      'a purpose that is not a server',
      () => authority.issue('/CN=x', 'extendedKeyUsage=clientAuth\nsubjectAltName=DNS:localhost'),
    ],
  ] as const) {
    it(`${what}: the certificate is not valid`, async () => {
      const error = await outcome(make(), trusted);
      expect([error.code, error.message]).to.satisfy(
        ([code, text]: string[]) => code === 'permission' && text.includes('is not valid'),
        error.message,
      );
    });
  }

  it('an authority that nobody knows: the certificate is not valid', async () => {
    expect((await outcome(good, {})).code).to.equal('permission');
  });

  it('a server that speaks no TLS is not one with a bad certificate', async () => {
    const server = await TestServer.start((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'));
    for (const verify of [true, false]) {
      const client = clientWith({}, { verify });
      const error = await failureOf(ask(client, `https://localhost:${server.port}/`));
      expect([error.code, error.message.includes('certificate')]).to.deep.equal(['refused', false]);
      expect(error.message).to.equal(`TLS with localhost:${server.port} failed: wrong version number`);
      await client.close();
    }
    await server.stop();
  });

  it('a connection that breaks off in the handshake may work another time', async () => {
    const server = await TestServer.start((socket) => socket.destroy());
    const client = clientWith();
    expect((await failureOf(ask(client, `https://localhost:${server.port}/`))).code).to.equal('io');
    await client.close();
    await server.stop();
  });

  it('the certificates are read once for all connections, and for none without TLS', async () => {
    const { createSecureContext } = tls;
    let made = 0;
    tls.createSecureContext = (options) => {
      made++;
      return createSecureContext(options);
    };
    const answer = (socket: { end(text: string): void }) => socket.end(answerOf('hello'));
    const plain = await TestServer.start(answer);
    const secure = await TestServer.start(answer, good);
    try {
      made = 0;
      // Written anew, it is another file than the one that was read before.
      const path = join(authority.folder, 'again.pem');
      writeFileSync(path, authority.ca);
      const clients = [clientWith({ SSL_CERT_FILE: path }), clientWith({ SSL_CERT_FILE: path })];
      expect((await ask(clients[0], `http://localhost:${plain.port}/`)).body).to.equal('hello');
      expect(made).to.equal(0);
      for (const client of [...clients, ...clients]) await ask(client, `https://localhost:${secure.port}/`);
      expect([made, secure.connections]).to.deep.equal([1, 4]);
      await Promise.all(clients.map((client) => client.close()));
    } finally {
      tls.createSecureContext = createSecureContext;
      await plain.stop();
      await secure.stop();
    }
  });

  it('SSL_CERT_FILE that names nothing, or nothing of the kind, is refused by its name', async () => {
    const empty = join(authority.folder, 'empty.pem');
    writeFileSync(empty, 'no certificate');
    for (const path of [join(authority.folder, 'nothing'), authority.folder, empty]) {
      const error = await outcome(good, { SSL_CERT_FILE: path });
      expect([error.code, error.message.includes(`'${path}', which SSL_CERT_FILE names,`)]).to.deep.equal(
        ['invalid-argument', true],
        error.message,
      );
    }
  });
});

describe('an HTTP client that waits for a connection', () => {
  /** It takes connections, and says nothing. */
  let silent: Server;
  let ended: Promise<void>;
  let url: string;

  beforeEach(async () => {
    let end = (): void => undefined;
    ended = new Promise((resolve) => {
      end = resolve;
    });
    silent = createServer((socket) => void socket.on('error', end).on('close', end).resume());
    await new Promise<void>((resolve) => silent.listen(0, 'localhost', resolve));
    url = `https://localhost:${(silent.address() as { port: number }).port}/`;
  });
  afterEach(() => new Promise((resolve) => silent.close(resolve)));

  it('can be told not to, at once', async () => {
    const client = clientWith({}, { timeoutMs: 0 });
    const stop = new AbortController();
    silent.once('connection', () => stop.abort());
    expect((await failureOf(ask(client, url, stop.signal))).code).to.equal('cancelled');
    await client.close();
    await ended;
  });

  it('leaves none behind once it is closed', async () => {
    const client = clientWith({}, { timeoutMs: 0 });
    silent.once('connection', () => void client.close());
    await failureOf(ask(client, url));
    await ended;
  });
});
