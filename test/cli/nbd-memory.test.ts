// What an NBD server takes of the system's memory, and of its clients' patience, measured from outside.

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { Command } from '../../src/wire/nbd/constants.js';
import { NbdProcess, until } from '../support/nbd-process.js';
import { RawClient } from '../support/nbd-raw.js';

const MIB = 1 << 20;
const CLIENTS = 8;
const REQUESTS = 2000;
/** The documented budget, and the heap's share of so many requests. */
const PEAK_BYTES = (128 + 64) * MIB;
const IDLE_BYTES = 24 * MIB;

describe('nbd server: memory of the process', () => {
  let folder: string;
  const clients: RawClient[] = [];

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-memory-'));
    // The replies of a raw image would be pages of the page cache, and no memory of the process.
    const host = openRealHost();
    const workspace = new Workspace(host);
    const path = join(folder, 'disk');
    await workspace.create(path, { driver: 'qcow2', size: 16 * MIB });
    const image = await workspace.open(path, { format: 'qcow2' });
    await image.write(0, Buffer.alloc(MIB, 1));
    await image.close();
    await workspace.close();
    await host.close();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const start = (...words: string[]) =>
    NbdProcess.start('diskwright', join(folder, 's'), ['-t', '-f', 'qcow2', ...words, 'disk'], folder);
  const connect = async (server: NbdProcess) => {
    const client = await RawClient.connect(server.socket);
    clients.push(client);
    return client;
  };
  const resident = (server: NbdProcess, line = 'VmRSS') =>
    Number(new RegExp(`${line}:\\s+(\\d+)`).exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) * 1024;

  it(`stays within the budget while ${CLIENTS} clients ask and never read, and goes back when they leave`, async () => {
    const server = await start('-e', `${CLIENTS + 1}`);
    const modest = await connect(server);
    await modest.go();
    const before = resident(server);
    for (let i = 0; i < CLIENTS; i++) {
      const greedy = await connect(server);
      await greedy.go();
      greedy.socket.pause();
      const one = greedy.header({ command: Command.read, offset: 0, length: MIB });
      greedy.send(Buffer.concat(Array.from({ length: REQUESTS }, () => one)));
    }
    await until('it takes what it may', () => resident(server) > before + 100 * MIB);
    expect(await modest.readData(MIB, 4096)).to.deep.equal(Buffer.alloc(4096));
    for (const client of clients.splice(1)) client.close();
    await until('the memory is given back', () => resident(server) < before + IDLE_BYTES);
    expect(resident(server, 'VmHWM') - before).to.be.below(PEAK_BYTES);
    expect(await modest.readData(MIB, 4096)).to.deep.equal(Buffer.alloc(4096));
    expect(await server.stop()).to.equal(0);
  });

  for (const most of [1, 100]) {
    it(`lets a client in beside 300 that connect and say nothing, where ${most} may be served`, async () => {
      const server = await start('-e', `${most}`);
      for (let i = 0; i < 300; i++) await connect(server);
      const good = await connect(server);
      await good.go();
      expect(await good.readData(MIB, 4096)).to.deep.equal(Buffer.alloc(4096));
      expect(await server.stop()).to.equal(0);
    });
  }
});
