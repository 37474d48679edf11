// TLS on links: who may come in, who not, and what both sides are told.
import { createConnection, createServer } from 'node:net';
import { expect } from 'chai';
import type { Link, TlsSettings } from '../../src/host/net.js';
import type { BlockError } from '../../src/util/errors.js';
import { requirePeer } from '../support/peers.js';
import { failure, overEngines, pattern } from './engines.js';
import { Collector, pairOf } from './net-support.js';
import { Authority, type Certificate } from './pki.js';

const TIME_LIMIT_MS = 5000;
const KEY = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

overEngines('TLS', (bench) => {
  let authority: Authority;
  let stranger: Authority;
  let server: Certificate;
  let client: Certificate;

  before(function () {
    requirePeer(this, 'openssl');
    authority = new Authority();
    stranger = new Authority('Somebody else');
    server = authority.issue(
      '/C=GB/CN=localhost',
      'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth',
    );
    client = authority.issue('/C=GB/O=Example\\, Inc. \\/ #1/CN=bob é', 'extendedKeyUsage=clientAuth');
  });

  after(() => {
    authority?.remove();
    stranger?.remove();
  });

  const forServer = (more: Partial<TlsSettings> = {}): TlsSettings => ({
    ...{ side: 'server', kind: 'x509', ca: authority.ca, verifyPeer: true, ...server },
    ...more,
  });
  const forClient = (more: Partial<TlsSettings> = {}): TlsSettings => ({
    ...{ side: 'client', kind: 'x509', ca: authority.ca, verifyPeer: true, hostname: 'localhost', ...client },
    ...more,
  });
  const withKey = (side: 'server' | 'client', user: string, key: Uint8Array): TlsSettings => ({
    ...{ side, kind: 'psk', verifyPeer: false, username: user, keys: new Map([[user, key]]) },
  });

  /** Both sides shake hands: a link or an error each. */
  async function shake(serverSettings: TlsSettings, clientSettings: TlsSettings) {
    const pair = await pairOf(bench.host, { type: 'unix', path: bench.path('tls.sock') });
    const [server, client] = await Promise.allSettled([
      pair.server.startTls(serverSettings, TIME_LIMIT_MS),
      pair.client.startTls(clientSettings, TIME_LIMIT_MS),
    ]);
    const close = async () => {
      for (const one of [server, client]) if (one.status === 'fulfilled') await one.value.close();
      await pair.close();
    };
    return { server, client, close };
  }

  function linkOf(result: PromiseSettledResult<Link>): Link {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  }

  function codeOf(result: PromiseSettledResult<Link>): string {
    return result.status === 'rejected' ? (result.reason as BlockError).code : 'a link';
  }

  it('with certificates: each knows the other, and bytes go both ways', async () => {
    const shaken = await shake(forServer(), forClient());
    const [left, right] = [linkOf(shaken.server), linkOf(shaken.client)];
    expect(left.tls?.name).to.equal('C=GB,O=Example\\, Inc. / #1,CN=bob é');
    expect(right.tls?.name).to.equal('C=GB,CN=localhost');
    expect(left.tls?.protocol).to.equal('TLSv1.3');
    const size = 1_000_003;
    const data = bench.host.memory.allocate(size);
    data.set(pattern(size, 4));
    const into = [new Collector(bench.host, left, 1237).read(), new Collector(bench.host, right, 70000).read()];
    for (const link of [left, right]) {
      for (let at = 0; at < size; at += 99991) link.push(data, at, Math.min(size, at + 99991));
      expect(link.unsentBytes).to.equal(size);
      link.flush();
    }
    for (const [i, one] of into.entries()) {
      await one.until(() => one.bytes === size);
      expect(one.content.equals(Buffer.from(data))).to.equal(true);
      await one.until(() => one.link.sentPieces === Math.ceil(size / 99991));
      expect(into[i].progress).to.be.greaterThan(0);
      expect(one.link.unsentBytes).to.equal(0);
    }
    expect((await failure(left.startTls(forServer(), 100))).code).to.equal('bad-state');
    await right.close(true);
    expect(await into[0].ended()).to.equal(null);
    await shaken.close();
  });

  it('without a window the other side is held back', async () => {
    const shaken = await shake(forServer(), forClient());
    const [left, right] = [linkOf(shaken.server), linkOf(shaken.client)];
    const size = 8 * 1024 * 1024;
    const data = bench.host.memory.allocate(size);
    data.set(pattern(size, 14));
    const out = new Collector(bench.host, left);
    left.push(data, 0, size);
    expect(left.flush()).to.equal(false);
    for (let i = 0; i < 200; i++) await new Promise(setImmediate);
    expect(left.unsentBytes).to.be.greaterThan(0);
    const into = new Collector(bench.host, right, 5001).read();
    await into.until(() => into.bytes === size);
    await out.until(() => left.sentPieces === 1);
    expect(into.content.equals(Buffer.from(data))).to.equal(true);
    await shaken.close();
  });

  it('windows that come late, and smaller than what arrives, lose nothing', async () => {
    const shaken = await shake(forServer(), forClient());
    const [left, right] = [linkOf(shaken.server), linkOf(shaken.client)];
    const data = bench.host.memory.allocate(400_000);
    data.set(pattern(data.length, 15));
    const into = new Collector(bench.host, right, 1501);
    into.late = true;
    for (let at = 0; at < data.length; at += 40_000) {
      left.push(data, at, at + 40_000);
      left.flush();
    }
    into.read();
    await into.until(() => into.bytes === data.length);
    expect(into.content.equals(Buffer.from(data))).to.equal(true);
    await shaken.close();
  });

  it('a server that asks for no certificate knows no name', async () => {
    const shaken = await shake(forServer({ verifyPeer: false }), forClient({ cert: undefined, key: undefined }));
    expect(linkOf(shaken.server).tls?.name).to.equal(null);
    await shaken.close();
  });

  it('a name may be an address', async () => {
    const shaken = await shake(forServer(), forClient({ hostname: '127.0.0.1' }));
    linkOf(shaken.client);
    await shaken.close();
  });

  const REFUSED: [string, () => [Partial<TlsSettings>, Partial<TlsSettings>], 'server' | 'client'][] = [
    ['a server of another CA', () => [{}, { ca: stranger.ca }], 'client'],
    ['a server of another name', () => [{}, { hostname: 'other.example' }], 'client'],
    ['a server of another address', () => [{}, { hostname: '127.0.0.2' }], 'client'],
    [
      'a server that has expired',
      () => [authority.issue('/CN=localhost', 'subjectAltName=DNS:localhost', -1), {}],
      'client',
    ],
    ['a client of another CA', () => [{}, stranger.issue('/CN=bob', 'extendedKeyUsage=clientAuth')], 'server'],
    ['a client that has expired', () => [{}, authority.issue('/CN=bob', 'extendedKeyUsage=clientAuth', -1)], 'server'],
    ['a client with the certificate of a server', () => [{}, server], 'server'],
    ['a client without a certificate', () => [{}, { cert: undefined, key: undefined }], 'server'],
  ];
  for (const [title, change, judge] of REFUSED) {
    it(`refuses ${title}`, async () => {
      const [serverChange, clientChange] = change();
      const shaken = await shake(forServer(serverChange), forClient(clientChange));
      expect(codeOf(shaken[judge])).to.equal('permission');
      if (judge === 'client') expect(codeOf(shaken.server)).not.to.equal('a link');
      await shaken.close();
    });
  }

  it('with a pre-shared key: the server knows the user', async () => {
    const shaken = await shake(withKey('server', 'qemu', KEY), withKey('client', 'qemu', KEY));
    expect(linkOf(shaken.server).tls?.name).to.equal('qemu');
    expect(linkOf(shaken.client).tls?.name).to.equal(null);
    await shaken.close();
  });

  it('refuses a wrong key, an unknown user, and a certificate in place of a key', async () => {
    const wrong = await shake(withKey('server', 'qemu', KEY), withKey('client', 'qemu', Buffer.alloc(16, 1)));
    expect([codeOf(wrong.server), codeOf(wrong.client)]).to.deep.equal(['permission', 'permission']);
    await wrong.close();
    const unknown = await shake(withKey('server', 'qemu', KEY), withKey('client', 'eve', KEY));
    expect([codeOf(unknown.server), codeOf(unknown.client)]).to.deep.equal(['permission', 'permission']);
    await unknown.close();
    const other = await shake(forServer({ verifyPeer: false }), withKey('client', 'qemu', KEY));
    expect(codeOf(other.client)).to.equal('permission');
    expect(codeOf(other.server)).not.to.equal('a link');
    await other.close();
  });

  it('what is no TLS, or silent, or gone, is an error in time', async () => {
    const listenAndShake = async (limitMs: number, act: (port: number) => void) => {
      let taken: (link: Link) => void = () => {};
      const accepted = new Promise<Link>((resolve) => {
        taken = resolve;
      });
      const listener = await bench.host.net.listen({ type: 'inet', host: '127.0.0.1', port: 0 }, taken);
      act((listener.address as { port: number }).port);
      const error = await failure((await accepted).startTls(forServer(), limitMs));
      await listener.close();
      return error;
    };
    const peer = (first: string, then: 'stay' | 'leave') => (port: number) => {
      const socket = createConnection({ port, host: '127.0.0.1' }, () => {
        socket.write(first);
        if (then === 'leave') socket.end();
      });
      socket.on('error', () => socket.destroy());
    };
    expect((await listenAndShake(5000, peer('IHAVEOPT and no TLS at all', 'stay'))).code).to.equal('io');
    const silent = await listenAndShake(30, peer('\x16', 'stay'));
    expect([silent.code, silent.message.endsWith('no TLS handshake within 30 ms')]).to.deep.equal(['cancelled', true]);
    expect((await listenAndShake(5000, peer('\x16', 'leave'))).code).to.equal('io');
  });

  it('a client gives up on a server that is silent, too', async () => {
    const silent = createServer(() => {});
    await new Promise<void>((resolve) => silent.listen(bench.path('silent.sock'), resolve));
    const link = await bench.host.net.connect({ type: 'unix', path: bench.path('silent.sock') });
    expect((await failure(link.startTls(forClient(), 30))).code).to.equal('cancelled');
    silent.close();
  });

  it('does not start on a link with unsent bytes', async () => {
    const pair = await pairOf(bench.host, { type: 'unix', path: bench.path('busy.sock') });
    pair.client.push(bench.host.memory.allocate(10), 0, 10);
    expect((await failure(pair.client.startTls(forClient(), 100))).code).to.equal('bad-state');
    await pair.close();
  });

  it('says at once what cannot be used', async () => {
    const { net } = bench.host;
    net.checkTls(forServer());
    net.checkTls(forClient());
    net.checkTls(withKey('client', 'qemu', KEY));
    const wrong: TlsSettings[] = [
      forServer({ key: client.key }),
      forServer({ cert: Buffer.from('none') }),
      forServer({ ca: undefined }),
      forServer({ cert: undefined }),
      forClient({ ca: undefined }),
      { ...withKey('client', 'qemu', KEY), keys: new Map() },
    ];
    for (const settings of wrong) {
      const error = await failure((async () => net.checkTls(settings))());
      expect(error.code).to.equal('invalid-argument');
    }
  });
});
