// One client of a monitor: greeting, negotiation, commands in order, out of band, and what is wrong.

import { expect } from 'chai';
import { Bench, type Client } from './support.js';

describe('monitor session', () => {
  let bench: Bench;
  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => bench.close());

  const failure = async (client: Client, message: string | object) => {
    client.send(message);
    const { error, id } = await client.next();
    return [error?.class, error?.desc, id];
  };

  it('greets with its version and what it can do', () => {
    const { messages } = bench.stranger();
    expect(messages).to.deep.equal([
      { QMP: { version: { qemu: { major: 10, minor: 0, micro: 0 }, package: 'test' }, capabilities: ['oob'] } },
    ]);
  });

  it('takes nothing before the negotiation, and that once', async () => {
    const client = bench.stranger();
    const early = ['CommandNotFound', "Expecting capabilities negotiation with 'qmp_capabilities'", undefined];
    expect(await failure(client, { execute: 'query-version' })).to.deep.equal(early);
    expect(await failure(client, { execute: 'nonsense' })).to.deep.equal(early);
    expect(await failure(client, { execute: 'qmp_capabilities', arguments: { enable: 1 } })).to.deep.equal([
      'GenericError',
      "Invalid parameter type for 'enable', expected: array",
      undefined,
    ]);
    expect(await client.call('qmp_capabilities')).to.deep.equal({});
    expect(await failure(client, { execute: 'qmp_capabilities' })).to.deep.equal([
      'CommandNotFound',
      'Capabilities negotiation is already complete, command ignored',
      undefined,
    ]);
  });

  it('says what is wrong with a message, with its id where there is one', async () => {
    const client = await bench.client();
    for (const [message, desc] of [
      ['[]', 'QMP input must be a JSON object'],
      [{}, "QMP input lacks member 'execute'"],
      [{ execute: 1 }, "QMP input member 'execute' must be a string"],
      [{ execute: 'query-jobs', arguments: [] }, "QMP input member 'arguments' must be an object"],
      [{ execute: 'query-jobs', x: 1 }, "QMP input member 'x' is unexpected"],
      [{ 'exec-oob': 'query-jobs' }, "QMP input member 'exec-oob' is unexpected"],
      [{ execute: 'query-jobs', arguments: { a: 1 } }, "Parameter 'a' is unexpected"],
      [{ execute: 'job-pause' }, "Parameter 'id' is missing"],
      [{ execute: 'job-pause', arguments: { id: 1 } }, "Invalid parameter type for 'id', expected: string"],
      ['{"execute":"query-jobs",}', 'JSON parse error, expecting value'],
    ] as const) {
      const id = typeof message === 'string' ? undefined : { any: ['thing', null] };
      const sent = typeof message === 'string' ? message : { ...message, id };
      expect(await failure(client, sent)).to.deep.equal(['GenericError', desc, id]);
    }
    expect(await failure(client, { execute: 'constructor', id: 0 })).to.deep.equal([
      'CommandNotFound',
      'The command constructor has not been found',
      0,
    ]);
  });

  it('gives an id back as it came, integers of 64 bits too', async () => {
    const texts: string[] = [];
    const client = await bench.client();
    const parse = JSON.parse;
    try {
      JSON.parse = (text: string) => {
        texts.push(text);
        return parse(text);
      };
      client.send('{"execute":"query-jobs","id":18446744073709551615}{"execute":"query-jobs","id":[0.1,"\\u0000"]}');
      await client.next();
      await client.next();
    } finally {
      JSON.parse = parse;
    }
    expect(texts).to.deep.equal([
      '{"return": [], "id": 18446744073709551615}\r\n',
      '{"return": [], "id": [0.10000000000000001, "\\u0000"]}\r\n',
    ]);
  });

  it('answers in order, whatever was wrong between', async () => {
    const client = await bench.client();
    client.send('{"execute":"query-jobs","id":1}@\n{"execute":"nope","id":2}[]{"execute":"query-version","id":3}');
    const ids: unknown[] = [];
    for (let i = 0; i < 5; i++) ids.push((await client.next()).id);
    expect(ids).to.deep.equal([1, undefined, 2, undefined, 3]);
  });

  it('takes out-of-band commands only where the client asked for that, and the command allows it', async () => {
    const client = await bench.client(['oob']);
    expect(await failure(client, { 'exec-oob': 'query-jobs', id: 1 })).to.deep.equal([
      'GenericError',
      'The command query-jobs does not support OOB',
      1,
    ]);
    expect(await failure(client, { execute: 'query-jobs', 'exec-oob': 'query-jobs' })).to.deep.equal([
      'GenericError',
      "QMP input member 'execute' clashes with 'exec-oob'",
      undefined,
    ]);
  });

  it('reads no more while too many commands wait', async () => {
    const client = await bench.client();
    client.send('{"execute":"query-version"}'.repeat(100));
    expect(client.receiving).to.equal(false);
    for (let i = 0; i < 100; i++) await client.next();
    await client.ask('query-version');
    expect(client.receiving).to.equal(true);
  });

  it('drops a client that does not read, and no other', async () => {
    const [deaf, other] = [await bench.client(), await bench.client()];
    deaf.backlogBytes = 100 << 20;
    bench.context.events.emit('BLOCK_EXPORT_DELETED', { id: 'e' });
    expect([deaf.dropped, other.dropped]).to.deep.equal([true, false]);
    bench.context.events.emit('BLOCK_EXPORT_DELETED', { id: 'f' });
    expect([deaf.events.length, other.events.length]).to.deep.equal([1, 2]);
  });

  it('sends events with their time, after the negotiation only', async () => {
    const [stranger, client] = [bench.stranger(), await bench.client()];
    const before = Date.now() / 1000;
    bench.context.events.emit('BLOCK_EXPORT_DELETED', { id: 'e' });
    const { timestamp, ...event } = await client.event('BLOCK_EXPORT_DELETED');
    expect(event).to.deep.equal({ event: 'BLOCK_EXPORT_DELETED', data: { id: 'e' } });
    expect(timestamp!.seconds + timestamp!.microseconds / 1e6).to.be.within(before - 1, before + 5);
    expect(stranger.events).to.deep.equal([]);
  });

  it('knows each command of the schema, and tells of them', async () => {
    const client = await bench.client();
    const schema = (await client.call('query-qmp-schema')) as { name: string; 'meta-type': string }[];
    const commands = (await client.call('query-commands')) as { name: string }[];
    const inSchema = schema.filter((info) => info['meta-type'] === 'command').map(({ name }) => name);
    expect(commands.map(({ name }) => name).sort()).to.deep.equal(inSchema.sort());
    const types = new Set(schema.map(({ name }) => name));
    for (const { name, ...info } of schema as Record<string, unknown>[]) {
      for (const key of ['arg-type', 'ret-type', 'element-type']) {
        if (info[key] !== undefined) expect(types, `${name}: ${key}`).to.include(info[key]);
      }
    }
  });

  it('closes what a command under way leaves open, and begins no other one at the end', async () => {
    const client = await bench.client();
    const { context } = bench;
    let goOn: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    const late = context.run(async () => {
      await held;
      return context.nodes.add({ driver: 'null-co', 'node-name': 'late' });
    });
    const closed = context.close();
    goOn();
    expect((await late).nodeName).to.equal('late');
    await closed;
    expect([...bench.context.graph.nodes.keys()]).to.deep.equal([]);
    const { error } = await client.ask('blockdev-add', { driver: 'null-co', 'node-name': 'later' });
    expect(error).to.deep.equal({ class: 'GenericError', desc: 'The daemon is about to end' });
  });

  it('ends the daemon with quit', async () => {
    const client = await bench.client();
    expect(await client.call('quit')).to.deep.equal({});
    expect(bench.quits).to.equal(1);
  });
});
