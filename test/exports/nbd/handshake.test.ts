// The handshake, option by option: what is agreed on, what is refused, and who is sent away.

import { expect } from 'chai';
import { deviceOf, type Image } from '../../../src/library/image.js';
import { Info, MAGIC_HIGH, Option, OptionReply, TransmissionFlag } from '../../../src/wire/nbd/constants.js';
import { infoRequest, metaRequest, RawClient as Raw, type RawClient } from '../../support/nbd-raw.js';
import { u32 } from '../../support/wire-fields.js';
import { MIB, Stage } from './support.js';

const { errInvalid, errUnknown, errUnsupported, errPolicy, errTooBig, errExtendedHeadersRequired } = OptionReply;

describe('nbd server: handshake', () => {
  let stage: Stage;
  let image: Image;

  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk', { size: 5 * MIB + 512 });
  });
  afterEach(() => stage.close());

  const haggler = async (): Promise<RawClient> => {
    const client = await stage.client();
    await client.greet();
    return client;
  };
  const typesOf = async (client: RawClient, option: number, data?: Uint8Array) =>
    (await client.ask(option, data)).map(({ type }) => type);

  it('greets in the fixed newstyle', async () => {
    await stage.serve(image);
    const client = await stage.client();
    const greeting = await client.read(18);
    expect(greeting.toString('latin1', 0, 16)).to.equal('NBDMAGICIHAVEOPT');
    expect(greeting.readUInt32BE(0)).to.equal(MAGIC_HIGH);
    expect(greeting.readUInt16BE(16)).to.equal(3);
  });

  it('tells of size, flags and block sizes, and goes', async () => {
    await stage.serve(image, { description: 'a disk' });
    const client = await haggler();
    const replies = await client.ask(Option.info, infoRequest('', [Info.name, Info.description, Info.blockSize]));
    const infos = new Map(replies.slice(0, -1).map(({ data }) => [data.readUInt16BE(0), data.subarray(2)]));
    expect(infos.get(Info.name)?.toString()).to.equal('');
    expect(infos.get(Info.description)?.toString()).to.equal('a disk');
    expect(infos.get(Info.export)?.readBigUInt64BE(0)).to.equal(BigInt(5 * MIB + 512));
    const sizes = infos.get(Info.blockSize) as Buffer;
    expect([0, 4, 8].map((at) => sizes.readUInt32BE(at))).to.deep.equal([1, 4096, 32 * MIB]);
    expect(await typesOf(client, Option.go, infoRequest())).to.deep.equal([
      OptionReply.info,
      OptionReply.info,
      OptionReply.ack,
    ]);
    expect(await client.readData(0, 512)).to.deep.equal(Buffer.alloc(512));
  });

  it('serves those who name the export in the old way', async () => {
    await stage.serve(image, { name: 'disk', readOnly: true });
    for (const [flags, length] of [
      [3, 10],
      [1, 134],
      [0, 134],
    ]) {
      const client = await stage.client();
      await client.greet(flags);
      client.option(Option.exportName, Buffer.from('disk'));
      const reply = await client.read(length);
      expect(reply.readBigUInt64BE(0)).to.equal(BigInt(5 * MIB + 512));
      expect(reply.readUInt16BE(8) & TransmissionFlag.readOnly).to.equal(TransmissionFlag.readOnly);
      expect(await client.readData(0, 512)).to.deep.equal(Buffer.alloc(512));
    }
  });

  it('advertises what it can', async () => {
    const flag = TransmissionFlag;
    const server = await stage.serve(image);
    const { flags: plain } = await stage.guest();
    const both = flag.hasFlags | flag.sendFlush | flag.sendFua | flag.sendCache | flag.canMultiConn;
    const writes = flag.sendTrim | flag.sendWriteZeroes | flag.sendFastZero;
    expect(plain).to.equal(both | writes);
    expect((await stage.guest('structured')).flags).to.equal(both | writes | flag.sendDf);
    expect((await stage.guest('extended')).flags).to.equal(both | writes | flag.sendDf);
    const chosen = await stage.guest('extended', ['base:allocation']);
    expect(chosen.flags).to.equal(both | writes | flag.sendDf | flag.blockStatusPayload);
    server.addExport(deviceOf(image), { name: 'ro', readOnly: true, multiConnection: 'off', resize: true });
    const reader = await stage.client();
    await reader.go('simple', { name: 'ro' });
    expect(reader.flags).to.equal((both | flag.readOnly) & ~flag.canMultiConn);
    server.addExport(deviceOf(image), { name: 'elastic', resize: true });
    const elastic = await stage.client();
    await elastic.go('simple', { name: 'elastic' });
    expect(elastic.flags).to.equal(both | writes | flag.sendResize);
  });

  it('does not advertise several connections where there may be one', async () => {
    await stage.serve(image, {}, { maxConnections: 1 });
    expect((await stage.guest()).flags & TransmissionFlag.canMultiConn).to.equal(0);
  });

  it('lists its exports', async () => {
    const server = await stage.serve(image);
    server.addExport(deviceOf(image), { name: 'ünë', description: 'the same' });
    const replies = await (await haggler()).ask(Option.list);
    expect(replies.map(({ type }) => type)).to.deep.equal([OptionReply.server, OptionReply.server, OptionReply.ack]);
    const { data } = replies[1];
    expect(data.subarray(4, 4 + data.readUInt32BE(0)).toString()).to.equal('ünë');
    expect(data.subarray(4 + data.readUInt32BE(0)).toString()).to.equal('the same');
  });

  it('lists and sets contexts', async () => {
    image.addBitmap('b0');
    image.addBitmap('b1');
    await stage.serve(image, { allocationDepth: true, bitmaps: ['b0', 'b1'] });
    const client = await haggler();
    await client.ask(Option.structuredReply);
    const names = async (option: number, queries: string[], name = '') =>
      (await client.ask(option, metaRequest(name, queries)))
        .filter(({ type }) => type === OptionReply.metaContext)
        .map(({ data }) => data.subarray(4).toString());
    const { listMetaContext: list, setMetaContext: set } = Option;
    const bitmaps = ['qemu:dirty-bitmap:b0', 'qemu:dirty-bitmap:b1'];
    const all = ['base:allocation', 'qemu:allocation-depth', ...bitmaps];
    expect(await names(list, [])).to.deep.equal(all);
    expect(await names(list, ['base:'])).to.deep.equal(['base:allocation']);
    expect(await names(list, ['qemu:'])).to.deep.equal(all.slice(1));
    expect(await names(list, ['qemu:dirty-bitmap:'])).to.deep.equal(bitmaps);
    expect(await names(list, ['qemu:dirty-bitmap:b1', 'x-other:', 'nonsense'])).to.deep.equal([bitmaps[1]]);
    expect(await names(set, [])).to.deep.equal([]);
    expect(await names(set, ['base:', 'qemu:', 'qemu:dirty-bitmap:', 'other:thing'])).to.deep.equal([]);
    expect(await names(set, [bitmaps[1], 'base:allocation'])).to.deep.equal(['base:allocation', bitmaps[1]]);
  });

  it('answers an abort and ends', async () => {
    await stage.serve(image);
    const client = await haggler();
    expect(await typesOf(client, Option.abort, Buffer.from('bye'))).to.deep.equal([OptionReply.ack]);
    expect(await client.rest()).to.have.lengthOf(0);
  });

  it('refuses what does not add up, and goes on', async () => {
    await stage.serve(image);
    const client = await haggler();
    const junk = Buffer.from('junk');
    const cases: [number, number, Buffer?][] = [
      [errUnsupported, 4],
      [errUnsupported, 0],
      [errUnsupported, 12, junk],
      [errUnsupported, 0xffffffff, Buffer.alloc(60_000)],
      [errPolicy, Option.startTls],
      [errInvalid, Option.startTls, junk],
      [errInvalid, Option.list, junk],
      [errInvalid, Option.structuredReply, junk],
      [errInvalid, Option.extendedHeaders, junk],
      [errInvalid, Option.info],
      [errInvalid, Option.info, Buffer.alloc(5)],
      [errInvalid, Option.info, u32(0xffffffff)],
      [errInvalid, Option.info, Buffer.concat([infoRequest('', [3]), Buffer.alloc(1)])],
      [errInvalid, Option.info, Buffer.concat([u32(2), Buffer.from([0xff, 0xfe, 0, 0])])],
      [errInvalid, Option.info, infoRequest('a\0b')],
      [errInvalid, Option.info, infoRequest('x'.repeat(4097))],
      [errUnknown, Option.info, infoRequest('nobody')],
      [errUnknown, Option.go, infoRequest('x'.repeat(4096))],
      [errInvalid, Option.setMetaContext, metaRequest('', ['base:allocation'])],
      [OptionReply.ack, Option.structuredReply],
      [errInvalid, Option.listMetaContext],
      [errInvalid, Option.setMetaContext, Buffer.concat([u32(0), u32(0xffffffff)])],
      [errInvalid, Option.setMetaContext, Buffer.concat([u32(0), u32(1), u32(100), junk])],
      [errInvalid, Option.setMetaContext, Buffer.concat([metaRequest('', []), junk])],
      [errInvalid, Option.setMetaContext, metaRequest('', ['x'.repeat(4097)])],
      [errUnknown, Option.setMetaContext, metaRequest('nobody', ['base:allocation'])],
      [OptionReply.ack, Option.extendedHeaders],
      [errExtendedHeadersRequired, Option.structuredReply],
    ];
    for (const [type, option, data] of cases) {
      const [reply] = await client.ask(option, data);
      expect(reply.option).to.equal(option);
      expect(reply.type, `option ${option}, ${data?.toString('hex', 0, 40)}`).to.equal(type);
    }
    expect((await client.ask(Option.go, infoRequest())).at(-1)?.type).to.equal(OptionReply.ack);
  });

  it('sends away who breaks the rules', async () => {
    await stage.serve(image);
    const offences: [string, (client: RawClient) => void][] = [
      ['unknown client flags', (client) => client.send(u32(4))],
      ['bad magic', (client) => client.send(u32(3), Buffer.alloc(16, 0x55))],
      ['unknown export in the old way', (client) => speak(client, Option.exportName, Buffer.from('nobody'))],
      ['negotiation without the fixed dialect', (client) => client.send(u32(0), optionOf(Option.list))],
      ['too much data', (client) => client.send(u32(3), optionOf(Option.list, 0x7fffffff))],
    ];
    for (const [what, offend] of offences) {
      const client = await stage.client();
      await client.read(18);
      offend(client);
      const rest = await client.rest();
      if (what === 'too much data') expect(rest.readUInt32BE(12)).to.equal(errTooBig);
      else expect(rest, what).to.have.lengthOf(0);
    }
  });

  it('does not take the old way after extended headers', async () => {
    await stage.serve(image);
    const client = await haggler();
    await client.ask(Option.extendedHeaders);
    client.option(Option.exportName);
    expect(await client.rest()).to.have.lengthOf(0);
  });

  it('loses patience with who says nothing, or too slowly', async () => {
    const server = await stage.serve(image, {}, { handshakeTimeoutMs: 150 });
    const silent = await stage.client();
    const slow = await stage.client();
    await slow.greet();
    const drip = setInterval(() => slow.send(Buffer.from([0x49])), 20);
    try {
      await silent.rest();
      await slow.rest();
    } finally {
      clearInterval(drip);
    }
    expect(server.connectionCount).to.equal(0);
  });

  it('counts options', async () => {
    await stage.serve(image);
    const client = await haggler();
    const flood = Buffer.concat(Array.from({ length: 5000 }, () => optionOf(99)));
    client.send(flood);
    const rest = await client.rest();
    expect(rest.length).to.be.below(5000 * 100);
    expect(await (await stage.guest()).readData(0, 10)).to.deep.equal(Buffer.alloc(10));
  });

  it('forgets contexts that were set for another export', async () => {
    const server = await stage.serve(image);
    server.addExport(deviceOf(image), { name: 'other', readOnly: true });
    const client = await haggler();
    await client.ask(Option.structuredReply);
    await client.ask(Option.setMetaContext, metaRequest('other', ['base:allocation']));
    await client.ask(Option.go, infoRequest());
    client.dialect = 'structured';
    expect(await client.command({ command: 7, length: 512 })).to.equal(22);
  });

  it('takes a name for what it is', async () => {
    await stage.serve(image, { name: '/a b/ü' });
    const client = await stage.client();
    await client.go('simple', { name: '/a b/ü' });
    expect(client.size).to.equal(5 * MIB + 512);
    expect(client).to.be.instanceOf(Raw);
  });
});

function optionOf(option: number, length = 0): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(option), u32(length)]);
}

function speak(client: RawClient, option: number, data: Buffer): void {
  client.send(u32(3));
  client.option(option, data);
}
