// http: where requests go after redirections, and the bytes of secrets, in the simulation.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { Perm } from '../../../src/block/types.js';
import { Random } from '../../../src/host/sim/index.js';
import { failureOf, linkTo, makeBench } from '../support.js';
import { badServer, GOOD, URL_OF_IMAGE } from './bad-server.js';

const CONTENT = new Uint8Array(4096).fill(7);

/** A server that redirects to one mirror after another, once each time that a request breaks off. */
async function redirected(fail: () => { status: number } | null) {
  const { host, graph } = makeBench();
  const { server } = badServer(new Random(1), CONTENT, GOOD, true);
  const asked: string[] = [];
  let mirror = 'one';
  host.http.server = (request) => {
    const { hostname } = new URL(request.url);
    asked.push(hostname);
    if (hostname === 'server') return { status: 302, headers: { location: `http://${mirror}/disk.raw` } };
    return hostname === mirror ? server(request) : fail();
  };
  const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
  const link = linkTo(node, Perm.CONSISTENT_READ);
  asked.length = 0;
  const moveTo = (name: string) => {
    mirror = name;
  };
  return { link, asked, moveTo };
}

describe('http: where requests go', () => {
  for (const [what, answer] of [
    ['cannot be reached', null],
    ['is broken (500)', { status: 500 }],
    ['is busy (503)', { status: 503 }],
  ] as const) {
    it(`asks the user's URL again where the server that it redirected to ${what}`, async () => {
      const { link, asked, moveTo } = await redirected(() => answer);
      moveTo('two');
      const buffer = new Uint8Array(512);
      await link.read(0, buffer);
      expect([...new Set(buffer)]).to.deep.equal([7]);
      expect(asked).to.deep.equal(['one', 'server', 'two']);
    });
  }

  for (const status of [400, 401, 403, 404, 410]) {
    it(`asks the user's URL again, at once, where that server answers ${status}`, async () => {
      const { link, asked, moveTo } = await redirected(() => ({ status }));
      moveTo('two');
      await link.read(0, new Uint8Array(512));
      expect(asked).to.deep.equal(['one', 'server', 'two']);
    });
  }

  it('follows ten redirections, behind one that is old, too', async () => {
    const { host, graph } = makeBench();
    const { server } = badServer(new Random(1), CONTENT, GOOD, true);
    let generation = 1;
    host.http.server = (request) => {
      const [, made, hop] = /^http:\/\/(?:h(\d)-(\d+)|server)\//.exec(request.url)!;
      if (made !== undefined && Number(made) !== generation) return { status: 404 };
      const next = Number(hop ?? 0) + 1;
      return next > 10
        ? server(request)
        : { status: 307, headers: { location: `http://h${generation}-${next}/disk.raw` } };
    };
    const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
    const link = linkTo(node, Perm.CONSISTENT_READ);
    generation = 2;
    const buffer = new Uint8Array(512);
    await link.read(0, buffer);
    expect([...new Set(buffer)]).to.deep.equal([7]);
  });

  it('says of a read, not of an open, that a server has stopped to send ranges', async () => {
    const { host, graph } = makeBench();
    const { server } = badServer(new Random(1), CONTENT, GOOD, true);
    host.http.server = (request) => (request.method === 'HEAD' ? server(request) : { status: 200, body: [CONTENT] });
    const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
    const error = await failureOf(linkTo(node, Perm.CONSISTENT_READ).read(0, new Uint8Array(512)));
    expect([error.code, error.operation]).to.deep.equal(['unsupported', 'read']);
  });
});

describe('http: secrets', () => {
  /** Headers of the last request, and what the client was opened with, with a secret of the bytes 80 ff. */
  async function sent(options: object, data = 'gP8=') {
    const { host, graph } = makeBench();
    await graph.objects.add(`secret,id=s,data=${data},format=base64`);
    const { server } = badServer(new Random(1), CONTENT, GOOD, true);
    let headers: Readonly<Record<string, string>> = {};
    host.http.server = (request) => {
      headers = request.headers;
      return server(request);
    };
    const file = { driver: 'http', url: URL_OF_IMAGE, ...options };
    await openNode(graph, `json:${JSON.stringify({ driver: 'raw', file })}`, { readOnly: true });
    return { headers, settings: host.http.settings! };
  }
  const base64 = (bytes: string) => Buffer.from(bytes, 'latin1').toString('base64');

  it('are sent byte for byte, be they text or not', async () => {
    const { headers } = await sent({ username: 'me', 'password-secret': 's' });
    expect(headers['authorization']).to.equal(`Basic ${base64('me:\x80\xff')}`);
    const { settings } = await sent({ 'proxy-username': 'me', 'proxy-password-secret': 's' });
    expect(Buffer.from(settings.proxyCredentials!).toString('latin1')).to.equal('me:\x80\xff');
    const inUrl = await sent({ url: 'http://me:%80%ff%zz@server/disk.raw' });
    expect(inUrl.headers['authorization']).to.equal(`Basic ${base64('me:\x80\xff%zz')}`);
  });

  it('hold cookies in UTF-8 only', async () => {
    expect((await failureOf(sent({ 'cookie-secret': 's' }))).code).to.equal('invalid-argument');
    const { headers } = await sent({ 'cookie-secret': 's' }, Buffer.from('a=é').toString('base64'));
    expect(headers['cookie']).to.equal('a=\xc3\xa9');
  });
});
