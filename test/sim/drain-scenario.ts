// One seeded run of drained sections: a guest whose device goes and comes, readers that attach for one request, jobs that start and
// end, snapshots that put overlays in place, and sections on any nodes of the graph at any time.
//
//   guest | comer | readers | jobs | sections (quiet?) | snapshots       all side by side -> what the guest must see
//
// What must hold: in a section nothing is sent to, or under way in, the nodes that it reaches, whoever attaches meanwhile; at its end
// everybody goes on; and nothing that a guest wrote is lost on the way.

import { chainOf } from '../../src/block/chain.js';
import { Device } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { PERM_ALL } from '../../src/block/types.js';
import { Random, type SimHost } from '../../src/host/sim/index.js';
import { backupJob } from '../../src/jobs/backup.js';
import type { Job } from '../../src/jobs/job.js';
import { JobManager } from '../../src/jobs/manager.js';
import { mirrorJob } from '../../src/jobs/mirror.js';
import { startJob } from '../../src/jobs/start.js';
import { BlockError } from '../../src/util/errors.js';
import { takeSnapshots } from '../../src/workspace/snapshot.js';
import { readNode } from '../drivers/support.js';
import { checkFiles, expectValues, guarded } from './checks.js';
import { ComingDisk } from './coming-disk.js';
import { NO_ERRORS } from './faults.js';
import { Guest, randomHabits, Violation } from './guest.js';
import { buildChain, makeImage, randomChain, randomLayer } from './images.js';
import { decodeSectors, GuestModel, SECTOR } from './model.js';
import { sleep, torment } from './torment.js';

/** While a job is in one of these, a section stops it. Before and after, it does what its own sections need. */
const AT_WORK: ReadonlySet<string> = new Set(['running', 'ready', 'paused', 'standby']);

export interface DrainStats {
  sections: number;
  /** Nodes that were looked at in sections, all together. */
  looks: number;
  /** Users that attached while a section lasted, and requests that met a device that was going. */
  attached: number;
  turnedAway: number;
  snapshots: number;
  jobs: number;
}

class DrainScenario {
  private readonly random: Random;
  private readonly stats: DrainStats = { sections: 0, looks: 0, attached: 0, turnedAway: 0, snapshots: 0, jobs: 0 };
  private model = new GuestModel([]);
  private value = 0;
  private stopped = false;
  private host!: SimHost;
  private graph!: Graph;
  private root!: () => BlockNode;
  private clusterSize = 0;
  /** A job is being started, or there is one. */
  private busy = false;
  private job: Job | null = null;
  private files = 0;

  constructor(seed: number) {
    this.random = new Random(seed, 60);
  }

  private readonly nextValue = () => ++this.value;

  async run(): Promise<DrainStats> {
    const { random } = this;
    const chain = randomChain(random, { format: 'qcow2', depth: random.below(3) });
    const built = await buildChain(chain, random, this.nextValue);
    this.model = new GuestModel(chain.contents[chain.contents.length - 1]);
    this.clusterSize = chain.layers[chain.layers.length - 1].clusterSize;
    this.host = built.fork({
      seed: random.next(),
      eager: false,
      unsupported: random.pick([[], ['allocate']] as const),
    });
    await this.host.run(async () => {
      this.graph = new Graph(this.host);
      const top = await openNode(this.graph, chain.options);
      const anchor = top.attach({ userName: 'anchor' }, 'root', 0, PERM_ALL);
      this.root = () => anchor.node;
      await this.actors();
      const content = new Uint8Array(this.model.sectors * SECTOR);
      await readNode(this.root(), 0, content);
      expectValues(content, this.model.sectors, 'the disk', (sector) => this.model.allowedNow(sector));
      for (const node of this.graph.nodes.values()) {
        if (node.quiesceCount > 0) throw new Violation('stuck', `${node.filename} stays drained`);
      }
      await this.graph.closeAll();
    });
    checkFiles(this.host, true);
    return this.stats;
  }

  private async actors(): Promise<void> {
    const { host, random, model } = this;
    const disk = new ComingDisk(host, this.root, random);
    const guest = new Guest({
      habits: randomHabits(random, this.clusterSize),
      random,
      model,
      disk,
      expectedErrors: NO_ERRORS,
      nextValue: this.nextValue,
      think: () => sleep(host, random.fraction() * 4),
    });
    const others = [
      this.often(5, () => disk.swap()),
      this.often(3, () => this.readOnce()),
      this.often(3, () => this.readOnce()),
      this.often(4, () => this.section()),
      this.often(9, () => this.section()),
      this.often(30, () => this.snapshot()),
      this.often(30, () => this.jobOnce()),
    ];
    const all = Promise.all(others);
    // A failure elsewhere ends the guest, too.
    await Promise.race([guest.run(200, 5), all]);
    this.stopped = true;
    await all;
    this.stats.turnedAway = disk.turnedAway;
    await disk.close();
  }

  private async often(ms: number, action: () => Promise<void>): Promise<void> {
    while (!this.stopped) {
      await sleep(this.host, this.random.fraction() * 2 * ms);
      await action();
    }
  }

  /** A user that comes for one read. */
  private async readOnce(): Promise<void> {
    const { random, model } = this;
    const device = new Device(this.root(), { name: 'reader', writable: false });
    if (this.root().quiesceCount > 0) this.stats.attached++;
    const first = random.below(model.sectors);
    const count = random.between(1, Math.min(16, model.sectors - first));
    const watch = model.watch(first, count);
    const buffer = new Uint8Array(count * SECTOR);
    await device.read(first * SECTOR, buffer);
    model.unwatch(watch);
    decodeSectors(buffer).forEach((value, i) => {
      const allowed = watch.allowed[i];
      if (allowed === null || allowed.has(value)) return;
      throw new Violation(
        'content',
        `a reader finds ${value} in sector ${first + i}, allowed: ${[...allowed].join(' ')}`,
      );
    });
    await device.close();
  }

  private async section(): Promise<void> {
    const { random, stats } = this;
    const nodes = [...this.graph.nodes.values()].filter(() => random.chance(0.3));
    if (nodes.length === 0) nodes.push(this.root());
    stats.sections++;
    await this.graph.drained(nodes, async () => {
      for (let looks = random.between(1, 5); looks > 0; looks--) {
        this.look(nodes);
        await sleep(this.host, random.fraction() * 3);
      }
      this.look(nodes);
    });
  }

  /** Is all quiet above `nodes`? */
  private look(nodes: readonly BlockNode[]): void {
    if (this.busy && (this.job === null || !AT_WORK.has(this.job.status))) return;
    for (const node of nodes) {
      if (node.closed) continue;
      if (node.quiesceCount === 0) throw new Violation('unexpected', `${node.filename} is not drained`);
      if (node.inFlight > 0) {
        throw new Violation(
          'unexpected',
          `${node.inFlight} requests are under way in ${node.filename}, which is drained`,
        );
      }
      this.stats.looks++;
    }
  }

  private async snapshot(): Promise<void> {
    if (this.busy || chainOf(this.root()).length > 6) return;
    this.busy = true;
    try {
      await takeSnapshots(this.graph, [{ node: this.root(), 'snapshot-file': `/over${this.files++}` }]);
      this.stats.snapshots++;
    } finally {
      this.busy = false;
    }
  }

  private async jobOnce(): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    let target: BlockNode | null = null;
    try {
      const { random, host, graph } = this;
      const layer = { ...randomLayer(random, `/target${this.files++}.qcow2`, 'qcow2'), sectors: this.model.sectors };
      await makeImage(graph, layer, undefined);
      target = await openNode(graph, { driver: 'qcow2', file: { driver: 'file', filename: layer.path } });
      const env = { graph, manager: new JobManager(host.clock) };
      const common = { device: this.root().nodeName, target: target.nodeName, sync: 'full' as const };
      const job = random.chance(0.5)
        ? await startJob(env, backupJob, common)
        : await startJob(env, mirrorJob, {
            ...common,
            'copy-mode': random.pick(['background', 'write-blocking'] as const),
          });
      this.job = job;
      await torment({ host, random, job, mayCancel: true, atReady: async () => void (await job.complete()) });
      this.stats.jobs++;
    } catch (error) {
      if (!(error instanceof BlockError) || error.code === 'internal') throw error;
      throw new Violation('refused', `a job: ${error.message}`);
    } finally {
      this.job = null;
      if (target !== null) await this.graph.release(target);
      this.busy = false;
    }
  }
}

export function runDrains(seed: number): Promise<DrainStats> {
  return guarded(seed, () => new DrainScenario(seed).run());
}
