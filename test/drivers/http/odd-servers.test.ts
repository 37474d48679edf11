// http: servers that say more to one request than to another, that bring next to nothing, or that redirect to what is none of their kind.

import { expect } from 'chai';
import { openNode } from '../../../src/block/open.js';
import { Perm } from '../../../src/block/types.js';
import type { SimAnswer } from '../../../src/host/sim/http.js';
import { Random } from '../../../src/host/sim/index.js';
import type { BlockError } from '../../../src/util/errors.js';
import { failureOf, linkTo, makeBench } from '../support.js';
import { badServer, GOOD, URL_OF_IMAGE } from './bad-server.js';

const MIB = 1 << 20;
const CONTENT = new Uint8Array(MIB).fill(7);

/** Opens a file of a server that has `CONTENT`, and answers as `change` says. `read` reads so much at once that it is not kept. */
async function opened(change: (answer: SimAnswer, method: string) => SimAnswer) {
  const { host, graph } = makeBench();
  const { server } = badServer(new Random(1), CONTENT, GOOD, true);
  let requests = 0;
  host.http.server = (request) => {
    requests++;
    return change(server(request)!, request.method);
  };
  const node = await openNode(graph, URL_OF_IMAGE, { format: 'raw', readOnly: true });
  const link = linkTo(node, Perm.CONSISTENT_READ);
  const read = () => link.read(0, new Uint8Array(MIB));
  return { host, read, requests: () => requests };
}

describe('http: the version of a file', () => {
  const date = { 'last-modified': 'Thu, 01 Jan 2026 00:00:00 GMT' };
  const tag = { etag: '"one"' };
  for (const [what, head, get, later, changed] of [
    ['said to GET alone', {}, tag, { etag: '"b"' }, true],
    ['said to HEAD as a date, and to GET as a tag, too', date, { ...date, ...tag }, { ...date, etag: '"b"' }, true],
    ['said as a tag, and later as a date alone', { ...date, ...tag }, tag, date, false],
    ['said as a tag, and later as another date alone', { ...date, ...tag }, tag, { 'last-modified': 'Fri' }, true],
    ['said as a tag, and later not at all', tag, tag, {}, true],
    ['never said', {}, {}, {}, false],
  ] as const) {
    it(`${what}: ${changed ? 'another one is noticed' : 'the file is read'}`, async () => {
      let version: Record<string, string> = get;
      const { read } = await opened((answer, method) => {
        const { etag: _, ...headers } = answer.headers ?? {};
        return { ...answer, headers: { ...headers, ...(method === 'HEAD' ? head : version) } };
      });
      await read();
      version = later;
      const second = await read().catch((error: BlockError) => error.code);
      expect(second).to.equal(changed ? 'bad-state' : undefined);
    });
  }
});

describe('http: a server that brings next to nothing', () => {
  it('is given up after six answers in a row of a few bytes each', async () => {
    const { read, requests } = await opened((answer, method) => {
      if (method === 'HEAD') return answer;
      const [, first] = /bytes (\d+)-/.exec(answer.headers!['content-range'])!;
      const headers = { ...answer.headers, 'content-range': `bytes ${first}-${first}/${MIB}` };
      return { ...answer, headers, body: [CONTENT.subarray(0, 1)] };
    });
    expect((await failureOf(read())).code).to.equal('io');
    expect(requests()).to.equal(7);
  });

  it('is given up where bytes come one by one', async () => {
    const bytes = Array.from({ length: 4000 }, () => CONTENT.subarray(0, 1));
    const { host, read } = await opened((answer, method) =>
      method === 'HEAD' ? answer : { ...answer, body: bytes, partDelayMs: 1000 },
    );
    await host.run(async () => {
      expect((await failureOf(read())).code).to.equal('io');
      expect(host.clock.now()).to.be.within(60_000, 300_000);
    });
  });

  it('is borne with where what it brings is little, but not that little', async () => {
    const { read } = await opened((answer, method) => {
      if (method === 'HEAD') return answer;
      const body = answer.body!.reduce((all, part) => Buffer.concat([all, part]), Buffer.alloc(0));
      return { ...answer, body: [body.subarray(0, 5000)], breaks: true };
    });
    await read();
  });
});

describe('http: a URL', () => {
  // A browser takes each of these for `http://server/disk.raw`, or for something else that it is not.
  for (const url of [
    `${URL_OF_IMAGE} `,
    `${URL_OF_IMAGE}\n`,
    'http://server/di\tsk.raw',
    'http://server/a b',
    'http://',
  ]) {
    it(`that is none is refused before anybody is asked: ${JSON.stringify(url)}`, async () => {
      const { host, graph } = makeBench();
      host.http.server = () => {
        throw new Error('a request was made');
      };
      const error = await failureOf(openNode(graph, url, { format: 'raw', readOnly: true }));
      expect([error.code, error.message]).to.deep.equal(['invalid-argument', `No valid URL specified: '${url}'`]);
    });
  }
});

describe('http: a redirection', () => {
  const redirectedTo = async (location: string) =>
    failureOf(opened((answer) => ({ ...answer, status: 302, headers: { location } })));

  it('to what is not HTTP is refused by its kind', async () => {
    const error = await redirectedTo('file:///etc/passwd');
    expect([error.code, error.reason]).to.deep.equal([
      'permission',
      'the server redirects from http:// to file://, which is not followed',
    ]);
  });

  it('to nowhere is an answer like others', async () => {
    const error = await redirectedTo('');
    expect([error.code, error.reason]).to.deep.equal(['refused', 'The requested URL returned error: 302']);
  });
});
