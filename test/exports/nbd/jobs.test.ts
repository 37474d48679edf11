// A served image is an image like any other: jobs change the graph under its clients, throttles hold them back, and it may be closed.

import { expect } from 'chai';
import { rootOf } from '../../../src/block/device.js';
import { deviceOf, type Image } from '../../../src/library/image.js';
import { Command, NbdError } from '../../../src/wire/nbd/constants.js';
import type { RawClient } from '../../support/nbd-raw.js';
import { MIB, pattern, Stage, until } from './support.js';

const SIZE = 8 * MIB;
const BLOCK = 4096;

/** Writes block after block, `depth` at a time, and remembers what must be there. */
class Load {
  readonly model: Uint8Array;
  readonly #guest: RawClient;
  writes = 0;
  #stop = false;
  readonly done: Promise<void>;

  constructor(guest: RawClient, depth: number, model: Uint8Array = Buffer.alloc(SIZE)) {
    this.#guest = guest;
    this.model = model;
    this.done = this.#run(depth);
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.done;
  }

  async #run(depth: number): Promise<void> {
    while (!this.#stop) {
      const parts: Buffer[] = [];
      for (let i = 0; i < depth; i++) {
        const at = ((this.writes + i) * 37 * BLOCK) % SIZE;
        const payload = pattern(BLOCK, this.writes + i);
        payload.copy(this.model, at);
        parts.push(this.#guest.header({ command: Command.write, offset: at, length: BLOCK, payload }), payload);
      }
      this.#guest.send(...parts);
      for (let i = 0; i < depth; i++) expect((await this.#guest.reply()).error).to.equal(0);
      this.writes += depth;
    }
  }
}

describe('nbd server: jobs underneath', () => {
  let stage: Stage;
  let image: Image;

  beforeEach(async () => {
    stage = new Stage();
    image = await stage.image('disk', { size: SIZE });
  });
  afterEach(() => stage.close());

  it('follows a mirror to its target under load', async () => {
    await stage.serve(image);
    const load = new Load(await stage.guest(), 8);
    await until(() => load.writes > 500, 'some writes');
    await stage.workspace.create(stage.path('target'), { driver: 'qcow2', size: SIZE });
    const job = await stage.workspace.mirror(image, stage.path('target'), { sync: 'full', format: 'qcow2' });
    await job.ready();
    const before = load.writes;
    await until(() => load.writes > before + 500, 'more writes');
    await job.complete();
    await job.done;
    expect(image.filename).to.equal(stage.path('target'));
    const after = load.writes;
    await until(() => load.writes > after + 500, 'writes to the target');
    await load.stop();
    const reader = await stage.guest('structured');
    expect(await reader.readData(0, SIZE)).to.deep.equal(load.model);
    expect(image.stats.failedOperations).to.equal(0);
  });

  it('goes on while the backing file is streamed away', async () => {
    await image.write(0, pattern(SIZE, 5));
    await image.close();
    await stage.workspace.create(stage.path('top'), {
      driver: 'qcow2',
      size: SIZE,
      'backing-file': stage.path('disk'),
      'backing-fmt': 'qcow2',
    });
    const top = await stage.open('top', { format: 'qcow2' });
    await stage.serve(top);
    const load = new Load(await stage.guest('extended'), 4, pattern(SIZE, 5));
    const job = await stage.workspace.stream(top);
    await job.done;
    const after = load.writes;
    await until(() => load.writes > after + 100, 'writes after the end');
    await load.stop();
    expect(await (await stage.guest('structured')).readData(0, SIZE)).to.deep.equal(load.model);
    expect(rootOf(deviceOf(top)).node.children.has('backing')).to.equal(false);
  });

  it("is held back by the image's throttle, and let go", async () => {
    await stage.serve(image);
    const guest = await stage.guest();
    image.limit({ 'iops-total': 1 });
    const count = 50;
    for (let i = 0; i < count; i++)
      guest.request({ command: Command.read, offset: 0, length: BLOCK, cookie: BigInt(i) });
    await guest.reply(BLOCK);
    expect(image.stats.readOperations).to.be.below(count);
    image.limit({});
    for (let i = 1; i < count; i++) expect((await guest.reply(BLOCK)).error).to.equal(0);
  });

  it('tells clients of an image that was closed under them', async () => {
    const server = await stage.serve(image);
    const guest = await stage.guest('structured', ['base:allocation']);
    expect(await guest.command({ command: Command.write, payload: pattern(BLOCK) })).to.equal(0);
    await image.close();
    expect(await guest.command({ command: Command.write, payload: pattern(BLOCK) })).to.equal(NbdError.shutdown);
    expect(await guest.command({ command: Command.flush })).to.equal(NbdError.shutdown);
    expect(await guest.command({ command: Command.blockStatus, length: 1 })).to.equal(NbdError.shutdown);
    guest.request({ command: Command.read, length: 1 });
    expect((await guest.reply()).error).to.equal(NbdError.shutdown);
    await server.close();
    await guest.rest();
  });

  it("counts in the image's statistics", async () => {
    await stage.serve(image);
    const guest = await stage.guest();
    await guest.command({ command: Command.write, payload: pattern(BLOCK) });
    await guest.command({ command: Command.write, payload: pattern(BLOCK, 2) });
    await guest.readData(0, BLOCK);
    expect(image.stats).to.include({ writeOperations: 2, writeBytes: 2 * BLOCK, readOperations: 1, readBytes: BLOCK });
  });

  it('is served by the workspace, in one call, until that is closed', async () => {
    const service = await stage.workspace.serve(image, { path: stage.socket, name: 'a b/c', description: 'x' });
    expect(service.uri).to.equal(`nbd+unix:///a%20b/c?socket=${stage.socket}`);
    const client = await stage.client();
    await client.go('simple', { name: 'a b/c' });
    expect(service.connectionCount).to.equal(1);
    const tcp = await stage.workspace.serve(image, { host: '127.0.0.1', port: 0, readOnly: true });
    expect(tcp.uri).to.match(/^nbd:\/\/127\.0\.0\.1:\d+\/$/);
    await tcp.close();
    await stage.workspace.close();
    expect(await client.rest()).to.have.lengthOf(0);
  });
});
