// What the options of http and https do.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { Perm } from '../../../src/block/types.js';
import { Random } from '../../../src/host/sim/index.js';
import { badServer, GOOD } from '../../drivers/http/bad-server.js';
import { failureOf, linkTo, makeBench } from '../../drivers/support.js';
import type { Effects } from './kit.js';

interface Lab {
  open(options: object): Promise<void>;
  /** Headers of the last request. */
  headers: Readonly<Record<string, string>>;
  /** Methods of all requests. */
  methods: string[];
  settings: { timeoutMs: number; verify: boolean; proxyCredentials: string };
}

/** Opens a file of a server with `options`, and reads of it. */
async function seen(driver: string, options: object, extra: Record<string, string> = {}): Promise<Lab> {
  const { host, graph } = makeBench();
  await graph.objects.add('secret,id=s,data=pass');
  const { server } = badServer(new Random(1), new Uint8Array(1 << 20).fill(5), GOOD, true);
  let headers: Readonly<Record<string, string>> = {};
  const methods: string[] = [];
  host.http.server = (request) => {
    methods.push(request.method);
    headers = request.headers;
    const answer = server(request);
    if (answer?.headers === undefined) return answer;
    return { ...answer, headers: { ...answer.headers, ...extra } };
  };
  const open = async (given: object): Promise<void> => {
    const file = { driver, url: `${driver}://server/disk`, ...given };
    const node = await openNode(graph, `json:${JSON.stringify({ driver: 'raw', file })}`, { readOnly: true });
    const link = linkTo(node, Perm.CONSISTENT_READ);
    await link.read(0, new Uint8Array(512));
  };
  await open(options);
  const { timeoutMs, verify, proxyCredentials } = host.http.settings!;
  const known = Buffer.from(proxyCredentials ?? []).toString();
  return { open, headers, methods, settings: { timeoutMs, verify, proxyCredentials: known } };
}

const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

/** `type`: the options of `driver`. */
function effectsOf(type: string, driver: 'http' | 'https'): Effects {
  return {
    [`${type}.url`]: [
      'is the file that is read',
      async () => {
        const { open } = await seen(driver, {});
        expect((await failureOf(open({ url: 'ftp://server/disk' }))).code).to.equal('invalid-argument');
      },
    ],
    [`${type}.readahead`]: [
      'is what is fetched at least',
      async () => {
        expect((await seen(driver, { readahead: 131072 })).headers['range']).to.equal('bytes=0-131071');
      },
    ],
    [`${type}.timeout`]: [
      'is how long an answer may take',
      async () => {
        expect((await seen(driver, { timeout: 7 })).settings.timeoutMs).to.equal(7000);
        expect((await failureOf(seen(driver, { timeout: -1 }))).code).to.equal('invalid-argument');
      },
    ],
    [`${type}.username`]: [
      'is sent to the server',
      async () => {
        expect((await seen(driver, { username: 'me' })).headers['authorization']).to.equal(basic('me:'));
      },
    ],
    [`${type}.password-secret`]: [
      'is sent with the name',
      async () => {
        const { headers } = await seen(driver, { username: 'me', 'password-secret': 's' });
        expect(headers['authorization']).to.equal(basic('me:pass'));
      },
    ],
    [`${type}.proxy-username`]: [
      'is for the proxy',
      async () => {
        expect((await seen(driver, { 'proxy-username': 'me' })).settings.proxyCredentials).to.equal('me:');
      },
    ],
    [`${type}.proxy-password-secret`]: [
      'is for the proxy',
      async () => {
        const options = { 'proxy-username': 'me', 'proxy-password-secret': 's' };
        expect((await seen(driver, options)).settings.proxyCredentials).to.equal('me:pass');
      },
    ],
    [`${type}.cookie`]: [
      'is sent',
      async () => {
        expect((await seen(driver, { cookie: 'a=b; c=d' })).headers['cookie']).to.equal('a=b; c=d');
      },
    ],
    [`${type}.cookie-secret`]: [
      'is sent, and not beside a cookie',
      async () => {
        const { headers, open } = await seen(driver, { 'cookie-secret': 's' });
        expect(headers['cookie']).to.equal('pass');
        expect((await failureOf(open({ cookie: 'a', 'cookie-secret': 's' }))).code).to.equal('invalid-argument');
      },
    ],
    [`${type}.force-range`]: [
      'asks for a range at once',
      async () => {
        expect((await seen(driver, {})).methods[0]).to.equal('HEAD');
        expect((await seen(driver, { 'force-range': true })).methods).to.deep.equal(['GET', 'GET']);
        // A server that takes no HEAD is asked by GET, too.
        expect((await seen(driver, {}, { 'accept-ranges': 'none' })).methods).to.deep.equal(['HEAD', 'GET', 'GET']);
      },
    ],
  };
}

export const httpEffects: Effects = {
  ...effectsOf('BlockdevOptionsCurlHttp', 'http'),
  ...effectsOf('BlockdevOptionsCurlHttps', 'https'),
  'BlockdevOptionsCurlHttps.sslverify': [
    'turned off, takes any certificate',
    async () => {
      expect((await seen('https', {})).settings.verify).to.equal(true);
      expect((await seen('https', { sslverify: false })).settings.verify).to.equal(false);
    },
  ],
};
