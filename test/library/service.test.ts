// An image that a program serves: who comes and leaves, and what each client has done.

import { existsSync, mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect } from 'chai';
import type { NbdClient } from '../../src/exports/nbd/server.js';
import { openRealHost } from '../../src/host/real/index.js';
import type { Image } from '../../src/library/image.js';
import type { NbdService } from '../../src/library/service.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const KiB = 1024;

describe('a service of the library', () => {
  let folder: string;
  let workspace: Workspace;
  let image: Image;

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-service-'));
    workspace = new Workspace(openRealHost());
    await workspace.create(join(folder, 'a.qcow2'), { driver: 'qcow2', size: 1024 * KiB });
    image = await workspace.open(join(folder, 'a.qcow2'));
  });
  afterEach(async () => {
    await workspace.close();
    rmSync(folder, { recursive: true });
  });

  async function withClient(service: NbdService, work: (client: Image) => Promise<void>): Promise<void> {
    const client = await workspace.open(service.uri, { format: 'raw' });
    await work(client);
    await client.close();
  }

  it('tells who comes, who leaves, and what each has read and written', async () => {
    const service = await workspace.serve(image, { path: join(folder, 'socket') });
    const come: NbdClient[] = [];
    service.on('connect', (client) => come.push(client));
    const left = new Promise<NbdClient>((resolve) => service.once('disconnect', resolve));
    await withClient(service, async (client) => {
      await client.write(0, new Uint8Array(128 * KiB).fill(1));
      await client.read(0, 64 * KiB);
      expect(service.clients).to.have.lengthOf(1);
      expect(service.clients[0]).to.include({ writtenBytes: 128 * KiB });
      expect(service.clients[0].readBytes).to.be.at.least(64 * KiB);
    });
    const { requests, writtenBytes } = await left;
    expect(requests).to.be.at.least(2);
    expect(writtenBytes).to.equal(128 * KiB);
    expect(come).to.have.lengthOf(1);
    expect(come[0]).to.include({ requests: 0, readBytes: 0, writtenBytes: 0 });
    expect(service.clients).to.deep.equal([]);
    await service.close();
  });

  it('has an absolute socket path in its URI, and removes that socket, wherever the program has gone meanwhile', async () => {
    const before = process.cwd();
    try {
      process.chdir(folder);
      const begun = workspace.serve(image, { path: 'relative.sock' });
      process.chdir(before);
      const service = await begun;
      const path = join(realpathSync(folder), 'relative.sock');
      expect(service.address).to.deep.equal({ type: 'unix', path });
      expect(service.uri).to.equal(`nbd+unix:///?socket=${path}`);
      await withClient(service, async (client) => void (await client.read(0, KiB)));
      await service.close();
      expect(existsSync(path)).to.equal(false);
    } finally {
      process.chdir(before);
    }
  });

  it('takes pre-shared keys alone, and asks clients for a certificate where nobody says otherwise', async () => {
    const keys = new Map([['alice', new Uint8Array(32).fill(1)]]);
    const service = await workspace.serve(image, { path: join(folder, 'socket'), tls: { kind: 'psk', keys } });
    expect(service.uri).to.match(/^nbds\+unix:/);
    await service.close();
    const refused = await failureOf(workspace.serve(image, { path: join(folder, 'socket'), tls: { kind: 'x509' } }));
    expect(refused).to.include({ code: 'invalid-argument' });
    expect(refused.message).to.match(/cannot be verified without a CA/);
  });

  it('keeps the size of the image, which its clients were told', async () => {
    const service = await workspace.serve(image, { path: join(folder, 'socket') });
    for (const size of [512 * KiB, 2048 * KiB]) {
      expect(await failureOf(image.resize(size))).to.include({ code: 'permission', path: image.filename });
    }
    expect(image.size).to.equal(1024 * KiB);
    await service.close();
    await image.resize(2048 * KiB);
    expect(image.size).to.equal(2048 * KiB);
  });

  it('is not harmed by a listener that is taken away, and refuses events that are none', async () => {
    const service = await workspace.serve(image, { path: join(folder, 'socket') });
    const stop = service.on('connect', () => expect.fail('nobody listens any more'));
    stop();
    await withClient(service, async () => undefined);
    expect(() => service.on('connected' as never, () => undefined))
      .to.throw()
      .with.property('code', 'invalid-argument');
    await service.close();
  });

  it('listens at 127.0.0.1 alone where nobody says where', async () => {
    const service = await workspace.serve(image, { port: 0 });
    expect(service.address).to.include({ type: 'inet', host: '127.0.0.1' });
    expect(service.uri).to.match(/^nbd:\/\/127\.0\.0\.1:\d+\/$/);
    expect(inspect(service)).to.equal(`NbdService { uri: '${service.uri}', connectionCount: 0 }`);
    await withClient(service, async (client) => {
      await client.flush();
    });
    await service.close();
  });

  it('ends with its block, and lets the image be closed', async () => {
    const service = await workspace.serve(image, { path: join(folder, 'socket') });
    expect(image.users).to.deep.equal(['a service']);
    await service[Symbol.asyncDispose]();
    await image.close();
  });
});
