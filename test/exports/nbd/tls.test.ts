// TLS: nothing is answered without it, nothing that was said before it holds, and only those come in who may.

import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { NbdServer } from '../../../src/exports/nbd/server.js';
import type { TlsSettings } from '../../../src/host/net.js';
import type { Image } from '../../../src/library/image.js';
import { BlockError } from '../../../src/util/errors.js';
import { Option, OptionReply } from '../../../src/wire/nbd/constants.js';
import { infoRequest, metaRequest, RawClient } from '../../support/nbd-raw.js';
import { requirePeer } from '../../support/peers.js';
import { MIB, pattern, Stage, until } from './support.js';

const run = promisify(execFile);
const KEY = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');
const PSK: TlsSettings = {
  side: 'server',
  kind: 'psk',
  verifyPeer: false,
  keys: new Map([
    ['alice', KEY],
    ['mallory', KEY],
  ]),
};

describe('nbd server: tls', () => {
  let stage: Stage;
  let image: Image;

  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk');
  });
  afterEach(() => stage.close());

  /** A client that has been through STARTTLS. */
  async function secured(client: RawClient, identity = 'alice'): Promise<RawClient> {
    expect((await client.ask(Option.startTls))[0].type).to.equal(OptionReply.ack);
    client.socket.removeAllListeners();
    const socket = tlsConnect({
      socket: client.socket,
      ciphers: 'PSK',
      pskCallback: () => ({ identity, psk: KEY }),
      checkServerIdentity: () => undefined,
    });
    return RawClient.over(socket);
  }

  it('is demanded', async () => {
    await stage.serve(image, {}, { tls: PSK });
    const client = await stage.client();
    await client.greet();
    for (const option of [Option.list, Option.structuredReply, 99]) {
      expect((await client.ask(option))[0].type).to.equal(OptionReply.errTlsRequired);
    }
    expect((await client.ask(Option.go, infoRequest()))[0].type).to.equal(OptionReply.errTlsRequired);
    client.option(Option.exportName);
    expect(await client.rest()).to.have.lengthOf(0);
  });

  it('starts the negotiation anew', async () => {
    await stage.serve(image, {}, { tls: PSK });
    const client = await stage.client();
    await client.greet();
    const safe = await secured(client);
    expect((await safe.ask(Option.startTls))[0].type).to.equal(OptionReply.errInvalid);
    expect((await safe.ask(Option.setMetaContext, metaRequest('', ['base:allocation'])))[0].type).to.equal(
      OptionReply.errInvalid,
    );
    await safe.ask(Option.structuredReply);
    await safe.ask(Option.go, infoRequest());
    safe.dialect = 'structured';
    expect(await safe.command({ command: 1, offset: 5, payload: pattern(300_000) })).to.equal(0);
    expect(await safe.readData(5, 300_000)).to.deep.equal(pattern(300_000));
    safe.close();
  });

  it('lets in only those who may', async () => {
    const names: (string | null)[] = [];
    const authorise = async (name: string | null) => {
      names.push(name);
      return name === 'alice';
    };
    const server = await stage.serve(image, {}, { tls: PSK, authorise });
    for (const name of ['alice', 'mallory']) {
      const client = await stage.client();
      await client.greet();
      const safe = await secured(client, name);
      const answer = await safe.ask(Option.list).catch(() => null);
      expect(answer === null, name).to.equal(name === 'mallory');
      safe.close();
    }
    expect(names).to.deep.equal(['alice', 'mallory']);
    await server.close();
  });

  it('notices who leaves while somebody makes up their mind', async () => {
    let asked = false;
    let answer: (welcome: boolean) => void = () => undefined;
    const authorise = () => {
      asked = true;
      return new Promise<boolean>((resolve) => {
        answer = resolve;
      });
    };
    const server = await stage.serve(image, {}, { tls: PSK, authorise, handshakeTimeoutMs: 0 });
    for (const late of [false, true]) {
      const client = await stage.client();
      await client.greet();
      const safe = await secured(client);
      await until(() => asked, 'somebody is asked');
      asked = false;
      // The link reads nothing yet: who ends is found out when it does.
      if (late) safe.close();
      answer(late);
      if (!late) await safe.rest();
      await until(() => server.connectionCount === 0, 'nobody is there');
    }
    const client = await stage.client();
    await client.greet();
    const safe = await secured(client);
    await until(() => asked, 'somebody is asked');
    await server.close();
    await safe.rest();
  });

  it('is what an access list needs', async () => {
    const options = { authorise: () => true };
    expect(() => new NbdServer(stage.host, options))
      .to.throw(BlockError)
      .with.property('code', 'invalid-argument');
  });

  it('does not wait for a client that does not shake hands', async () => {
    await stage.serve(image, {}, { tls: PSK, handshakeTimeoutMs: 200 });
    const client = await stage.client();
    await client.greet();
    await client.ask(Option.startTls);
    await client.rest();
  });

  it('does not take plain text for protected', async () => {
    await stage.serve(image, {}, { tls: PSK });
    const client = await stage.client();
    await client.greet();
    client.send(Buffer.from('IHAVEOPT'), Buffer.from([0, 0, 0, Option.startTls, 0, 0, 0, 0]), Buffer.from('IHAVEOPT'));
    const rest = await client.rest();
    // The acknowledgement of STARTTLS, and perhaps an alert.
    expect(rest.readUInt32BE(12)).to.equal(OptionReply.ack);
    expect(rest.length).to.be.below(60);
  });

  it('is what nbdinfo and nbdcopy speak, too', async function () {
    requirePeer(this, 'nbdcopy');
    await image.write(0, pattern(MIB));
    await stage.serve(image, {}, { tls: PSK });
    writeFileSync(stage.path('keys.psk'), `alice:${KEY.toString('hex')}\n`);
    const uri = `nbds+unix://alice@/?socket=${stage.socket}&tls-psk-file=${stage.path('keys.psk')}`;
    const { stdout } = await run('nbdinfo', ['--json', uri], { timeout: 20_000 });
    expect(JSON.parse(stdout).TLS).to.equal(true);
    const copy = await run('nbdcopy', [uri, '-'], { timeout: 20_000, encoding: 'buffer', maxBuffer: 2 * MIB });
    expect(copy.stdout.equals(pattern(MIB))).to.equal(true);
    const plain = await run('nbdinfo', [stage.uri], { timeout: 20_000 }).catch((error) => error);
    expect(plain.code).to.equal(1);
  });
});
