// The states that the reference's monitors cannot see, and the verb that it does not have yet, against the table of docs/jobs.md.
//
// In `created` and in `aborting` a job waits for nothing but the requests of others on its nodes: its filter comes into the graph, or goes, when these
// are over. qemu-storage-daemon answers no monitor meanwhile (and takes what it was sent in the state that follows); Diskwright does. Here a guest
// reads of a server that does not answer before it is told to:
//
//   guest's read --> top -> mid -> base -> a server that holds it          another client: verbs of the job that waits for the read
//
// Jobs of type `create` have no nodes, and are in neither state when a command is answered.

import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import type { Image } from '../../src/library/image.js';
import { Workspace } from '../../src/library/workspace.js';
import { FakeNbd, serveMemory } from '../support/fake-nbd.js';
import { Bench, type Client, type Message } from './support.js';

/** More than a job at one byte a second reads. */
const SIZE = 8 << 20;
/** At the end of the disk, where no job comes to. (Beside a stream, its whole cluster is read.) */
const GUEST_BYTES = 512;

/** How each kind of job is started, and how far it comes at one byte a second: a commit has nothing to copy. */
const KINDS: Record<string, [command: string, words: object, settled: 'running' | 'pending' | 'ready']> = {
  stream: ['block-stream', { device: 'top' }, 'running'],
  commit: ['block-commit', { device: 'top', 'top-node': 'mid', 'base-node': 'base' }, 'pending'],
  'active commit': ['block-commit', { device: 'top', 'base-node': 'base' }, 'ready'],
  mirror: ['blockdev-mirror', { device: 'top', target: 'target', sync: 'full' }, 'running'],
  backup: ['blockdev-backup', { device: 'top', target: 'target', sync: 'full' }, 'running'],
};
/** A graph, a job of a kind, a guest whose read can be held, and two clients: one starts the job, the other one watches. */
class Lab {
  readonly bench = new Bench();
  readonly #starts: string;
  readonly #words: object;
  readonly settled: string;
  #server: FakeNbd | null = null;
  #held: (() => void) | null = null;
  #asked: () => void = () => undefined;
  #read: Promise<unknown> = Promise.resolve();
  readonly #machine = new Workspace(openRealHost());
  guest!: Image;
  first!: Client;
  second!: Client;

  private constructor(kind: string) {
    const [command, words, settled] = KINDS[kind];
    this.#starts = command;
    this.#words = { 'job-id': 'j', 'auto-finalize': false, 'auto-dismiss': false, speed: 1, ...words };
    this.settled = settled;
  }

  static async open(kind: string): Promise<Lab> {
    const lab = new Lab(kind);
    const { bench } = lab;
    const path = bench.path('server');
    lab.#server = await FakeNbd.listen(path, async (peer) => {
      await peer.negotiate({ size: SIZE });
      for (;;) {
        const request = await peer.request();
        if (request.command === 2) return;
        const data = request.command === 0 ? Buffer.alloc(request.length, 1) : Buffer.alloc(0);
        const answer = () => peer.simple(request, 0, data);
        if (request.offset + request.length < SIZE) answer();
        else {
          lab.#held = answer;
          lab.#asked();
        }
      }
    });
    [lab.first, lab.second] = [await bench.client(), await bench.client()];
    const call = (name: string, words: object) => lab.first.call(name, words);
    await call('blockdev-add', {
      ...{ driver: 'raw', 'node-name': 'base' },
      file: { driver: 'nbd', server: { type: 'unix', path } },
    });
    for (const [name, backing] of [
      ['mid', 'base'],
      ['top', 'mid'],
    ]) {
      const file = bench.path(name);
      const created = async (options: object) => {
        await call('blockdev-create', { 'job-id': 'c', options });
        const { messages } = lab.first;
        await lab.first.event('JOB_STATUS_CHANGE', ({ status }) => status === 'concluded', messages.length - 3);
        await call('job-dismiss', { id: 'c' });
      };
      await created({ driver: 'file', filename: file, size: 0 });
      await call('blockdev-add', { driver: 'file', 'node-name': `${name}-file`, filename: file });
      await created({ driver: 'qcow2', file: `${name}-file`, size: SIZE });
      await call('blockdev-add', { driver: 'qcow2', 'node-name': name, file: `${name}-file`, backing });
    }
    await call('nbd-server-start', { addr: { type: 'unix', data: { path: bench.path('disk') } } });
    await call('block-export-add', { type: 'nbd', id: 'top', 'node-name': 'top', writable: true });
    lab.guest = await lab.#machine.open(`nbd+unix:///top?socket=${bench.path('disk')}`);
    await call('blockdev-add', { driver: 'null-co', 'node-name': 'target', size: SIZE });
    return lab;
  }

  /** The guest's read is under way, at the server. */
  async holdRead(): Promise<void> {
    const asked = new Promise<void>((resolve) => {
      this.#asked = resolve;
    });
    this.#read = this.guest.read(SIZE - GUEST_BYTES, GUEST_BYTES);
    await asked;
  }

  async release(): Promise<void> {
    this.#held?.();
    await this.#read;
  }

  start(): Promise<Message> {
    return this.first.ask(this.#starts, this.#words);
  }

  /** Waits until the job has been in a state. */
  async state(status: string): Promise<void> {
    await this.second.event('JOB_STATUS_CHANGE', (data) => data['id'] === 'j' && data['status'] === status);
  }

  get states(): string[] {
    return this.second.events.filter((event) => event.startsWith('j '));
  }

  /** The job's status by both queries. */
  async status(): Promise<unknown> {
    const jobs = (await this.second.call('query-jobs')) as { id: string; status: string }[];
    const blockJobs = (await this.second.call('query-block-jobs')) as { device: string; status: string }[];
    expect(blockJobs.map(({ device, status }) => `${device} ${status}`)).to.deep.equal(
      jobs.map(({ id, status }) => `${id} ${status}`),
    );
    return jobs.find(({ id }) => id === 'j')?.status;
  }

  /** Error of a verb, or 'done'. */
  async verb(name: string, more: object = {}): Promise<string> {
    const key = /^block-job-(pause|resume|complete|cancel|set-speed)$/.test(name) ? 'device' : 'id';
    const { error } = await this.second.ask(name, { [key]: 'j', ...more });
    expect(error?.class ?? 'GenericError').to.equal('GenericError');
    return error?.desc ?? 'done';
  }

  /** The graph as it was before the job. */
  async edges(): Promise<number> {
    const graph = (await this.second.call('x-debug-query-block-graph')) as { edges: unknown[] };
    return graph.edges.length;
  }

  async close(): Promise<void> {
    await this.release();
    await this.#machine.close();
    await this.bench.close();
    await this.#server?.close();
  }
}

const refusal = (state: string, verb: string): string =>
  `Job 'j' in state '${state}' cannot accept command verb '${verb}'`;
const NOT_PAUSED = "Can't resume a job that was not paused";

/** The verbs that neither state takes. */
async function expectRefused(lab: Lab, kind: string, state: string): Promise<void> {
  for (const face of ['job', 'block-job']) {
    for (const verb of ['complete', 'finalize', 'dismiss']) {
      expect(await lab.verb(`${face}-${verb}`), `${face}-${verb}`).to.equal(refusal(state, verb));
    }
    expect(await lab.verb(`${face}-resume`)).to.equal(NOT_PAUSED);
  }
  expect(await change(lab, kind)).to.equal(refusal(state, 'change'));
}

/** What can be changed of a job: of a mirror, this; of the others, nothing. */
function change(lab: Lab, kind: string): Promise<string> {
  if (kind === 'mirror') return lab.verb('block-job-change', { type: kind, 'copy-mode': 'write-blocking' });
  return lab.verb('block-job-change', { type: kind === 'active commit' ? 'commit' : kind });
}

for (const kind of Object.keys(KINDS)) {
  describe(`a job that waits for others' requests: ${kind}`, () => {
    let lab: Lab;
    let edges: number;
    beforeEach(async () => {
      lab = await Lab.open(kind);
      edges = await lab.edges();
    });
    afterEach(() => lab.close());

    it('takes pause, resume and set-speed when it is created, and keeps to them when it runs', async () => {
      await lab.holdRead();
      const answer = lab.start();
      await lab.state('created');
      await expectRefused(lab, kind, 'created');
      expect(await lab.verb('job-pause')).to.equal('done');
      expect(await lab.verb('block-job-pause')).to.equal('Job is already paused');
      expect(await lab.verb('block-job-resume')).to.equal('done');
      expect(await lab.verb('job-resume')).to.equal(NOT_PAUSED);
      expect(await lab.verb('block-job-set-speed', { speed: -1 })).to.equal(
        "Parameter 'speed' expects a non-negative value",
      );
      expect(await lab.verb('block-job-set-speed', { speed: 7 })).to.equal('done');
      expect(await lab.verb('block-job-pause')).to.equal('done');
      expect(await lab.status()).to.equal('created');
      await lab.release();
      expect(await answer).to.have.property('return');
      await lab.state('paused');
      expect(lab.states).to.deep.equal(['j created', 'j running', 'j paused']);
      expect(await lab.second.call('query-block-jobs')).to.have.nested.property('[0].speed', 7);
    });

    for (const [verb, words] of [
      ['job-cancel', {}],
      ['block-job-cancel', {}],
      ['block-job-cancel', { force: true }],
    ] as const) {
      it(`ends without a trace after ${verb} ${JSON.stringify(words)} when it is created`, async () => {
        await lab.holdRead();
        const answer = lab.start();
        await lab.state('created');
        expect(await lab.verb(verb, words)).to.equal('done');
        expect(await lab.status()).to.equal('created');
        await lab.release();
        expect(await answer).to.have.property('return');
        await lab.state('null');
        expect(lab.states).to.deep.equal(['j created', 'j aborting', 'j concluded', 'j null']);
        expect(await lab.edges()).to.equal(edges);
      });
    }

    it('takes no verb while it aborts', async () => {
      await lab.start();
      await lab.state(lab.settled);
      await lab.holdRead();
      expect(await lab.verb('block-job-cancel', { force: true })).to.equal('done');
      await lab.state('aborting');
      await expectRefused(lab, kind, 'aborting');
      for (const [verb, words] of [
        ['job-pause', {}],
        ['job-cancel', {}],
        ['block-job-pause', {}],
        ['block-job-cancel', {}],
        ['block-job-cancel', { force: true }],
        ['block-job-set-speed', { speed: 7 }],
      ] as const) {
        expect(await lab.verb(verb, words)).to.equal(refusal('aborting', verb.replace(/^(block-)?job-/, '')));
      }
      expect(await lab.status()).to.equal('aborting');
      await lab.release();
      await lab.state('concluded');
      expect(await lab.verb('job-dismiss')).to.equal('done');
      expect(await lab.edges()).to.equal(edges);
    });
  });
}

describe('block-job-change', () => {
  for (const kind of Object.keys(KINDS)) {
    it(`of a ${kind}: what its state and its type say`, async () => {
      const lab = await Lab.open(kind);
      try {
        await lab.start();
        await lab.state(lab.settled);
        const taken = kind === 'mirror' ? 'done' : 'Job type does not support change';
        if (lab.settled === 'pending') expect(await change(lab, kind)).to.equal(refusal('pending', 'change'));
        else {
          expect(await change(lab, kind)).to.equal(taken);
          expect(await lab.verb('job-pause')).to.equal('done');
          await lab.state(lab.settled === 'ready' ? 'standby' : 'paused');
          expect(await change(lab, kind)).to.equal(taken);
        }
        expect(await lab.verb('block-job-cancel', { force: true })).to.equal('done');
        await lab.state('concluded');
        expect(await change(lab, kind)).to.equal(refusal('concluded', 'change'));
      } finally {
        await lab.close();
      }
    });
  }
});

describe('a job that waits for the other actions of its transaction', () => {
  let lab: Lab;
  beforeEach(async () => {
    lab = await Lab.open('backup');
    await lab.first.call('blockdev-add', { driver: 'null-co', 'node-name': 'other', size: SIZE });
  });
  afterEach(() => lab.close());

  /** The second backup's target is at a server that does not greet before the first job was cancelled. */
  async function cancelFirst(mode: 'grouped' | 'individual'): Promise<Message> {
    let greet: () => void = () => undefined;
    const mayGreet = new Promise<void>((resolve) => {
      greet = resolve;
    });
    const path = lab.bench.path('slow');
    const slow = await FakeNbd.listen(path, async (peer) => {
      await mayGreet;
      await serveMemory(peer, { size: SIZE }, Buffer.alloc(SIZE));
    });
    try {
      const common = { sync: 'full', 'auto-dismiss': false };
      const target = `nbd+unix:///?socket=${path}`;
      const first = { ...common, 'job-id': 'j', device: 'top', target: 'target' };
      const second = { ...common, 'job-id': 'k', device: 'other', target, mode: 'existing', format: 'raw' };
      const actions = [
        { type: 'blockdev-backup', data: first },
        { type: 'drive-backup', data: second },
      ];
      const answer = lab.first.ask('transaction', { actions, properties: { 'completion-mode': mode } });
      await lab.state('created');
      expect(await lab.verb('job-cancel')).to.equal('done');
      await lab.state('null');
      greet();
      const { id: _, ...said } = await answer;
      if ('return' in said) await lab.second.event('JOB_STATUS_CHANGE', isConcluded);
      return said;
    } finally {
      await slow.close();
    }
  }
  const isConcluded = ({ id, status }: Record<string, unknown>): boolean => id === 'k' && status === 'concluded';

  it('leaves nothing of the transaction when it is cancelled, where they end together', async () => {
    const edges = await lab.edges();
    const { error } = await cancelFirst('grouped');
    expect(error).to.deep.equal({ class: 'GenericError', desc: 'Operation canceled' });
    expect(await lab.edges()).to.equal(edges);
    expect(await lab.second.call('query-jobs')).to.deep.equal([]);
  });

  it('goes alone when it is cancelled, where each ends on its own', async () => {
    expect(await cancelFirst('individual')).to.deep.equal({ return: {} });
    const [job, ...others] = (await lab.second.call('query-jobs')) as object[];
    expect(job).to.include({ id: 'k', status: 'concluded' }).and.not.to.have.property('error');
    expect(others).to.deep.equal([]);
  });
});
