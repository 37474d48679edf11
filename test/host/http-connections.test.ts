// The HTTP client and its connections: they are used again, and are not kept to everywhere.

import { expect } from 'chai';
import { failureOf } from '../drivers/support.js';
import { until } from '../support/nbd-process.js';
import { answerOf, ask, clientWith, TestServer } from './http-support.js';

const signal = new AbortController().signal;

describe('connections of an HTTP client', () => {
  it('are used again, after a HEAD and after one that the server has ended, too', async () => {
    const server = await TestServer.start((socket, head) => {
      if (head.startsWith('HEAD')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n');
      else if (head.includes('/last')) socket.end(answerOf('hello'));
      else socket.write(answerOf('hello'));
    });
    const client = clientWith();
    const url = `http://localhost:${server.port}/`;
    await ask(client, url, signal, 'HEAD');
    for (let i = 0; i < 4; i++) await ask(client, url);
    expect(server.connections).to.be.within(1, 2);
    // Each of the two may have got it.
    for (let i = 0; i < 2; i++) await ask(client, `${url}last`);
    await until('the server has ended them', () => server.open === 0);
    for (let i = 0; i < 6; i++) await ask(client, url);
    expect(server.connections).to.be.within(2, 4);
    await client.close();
    await server.stop();
  });

  it('bring large answers whole', async () => {
    const text = 'hello'.repeat(1 << 20);
    const server = await TestServer.start((socket) => socket.write(answerOf(text)));
    const client = clientWith();
    const answers = await Promise.all([1, 2, 3].map(() => ask(client, `http://localhost:${server.port}/`)));
    expect(answers.map(({ body }) => body === text)).to.deep.equal([true, true, true]);
    await client.close();
    await server.stop();
  });

  it("say in the system's words why there is none", async () => {
    const server = await TestServer.start(() => undefined);
    await server.stop();
    const gone = `localhost:${server.port}`;
    const client = clientWith();
    for (const [host, why, errno] of [
      [gone, 'Connection refused', 'ECONNREFUSED'],
      ['no-host.invalid', 'Name or service not known', 'ENOTFOUND'],
    ]) {
      const error = await failureOf(ask(client, `http://${host}/`));
      // A system without a network may not know.
      if (error.errno === 'EAI_AGAIN') continue;
      const text = `the connection to ${host} failed: ${why}`;
      expect([error.code, error.errno, error.message]).to.deep.equal(['io', errno, text]);
    }
    await client.close();
  });

  it('say in words of their own that an answer is no HTTP', async () => {
    const server = await TestServer.start((socket) => socket.end('HTTP/1.1 000 Nothing\r\n\r\n'));
    const client = clientWith();
    const error = await failureOf(ask(client, `http://localhost:${server.port}/`));
    const text = `the connection to localhost:${server.port} failed: the answer is not HTTP`;
    expect([error.code, error.message]).to.deep.equal(['io', text]);
    await client.close();
    await server.stop();
  });

  it('are kept to a few servers only', async () => {
    const serve = (socket: { write(text: string): void }) => socket.write(answerOf('hello'));
    const servers = await Promise.all(Array.from({ length: 10 }, () => TestServer.start(serve)));
    const client = clientWith();
    for (const { port } of servers) await ask(client, `http://localhost:${port}/`);
    await until('the oldest connections end', () => servers[0].open + servers[1].open === 0);
    expect(servers.filter(({ open }) => open > 0).length).to.equal(8);
    await client.close();
    await Promise.all(servers.map((server) => server.stop()));
  });
});
