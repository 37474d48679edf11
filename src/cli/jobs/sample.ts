// What the jobs of a monitor have done so far, and how fast they go.
//
//   query-jobs, query-block-jobs --> one reading --> rate: over the readings of the last seconds

import type { Client } from '../../qmp/client/client.js';
import type { BlockJobInfo, JobInfo } from '../../schema/generated/types.js';

/** The rate is that of this time. */
const WINDOW_MS = 5000;

export interface JobView {
  info: JobInfo;
  /** What only jobs on block nodes have. */
  block: BlockJobInfo | undefined;
  /** Undefined while nothing is known of it. */
  bytesPerSecond: number | undefined;
  etaMs: number | undefined;
}

interface Reading {
  atMs: number;
  current: number;
}

export class JobSampler {
  readonly #client: Client;
  readonly #readings = new Map<string, Reading[]>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** All jobs, the oldest first. Rejects as `Client.execute`. */
  async sample(): Promise<JobView[]> {
    const [infos, blocks] = await Promise.all([
      this.#client.call('query-jobs', {}),
      this.#client.call('query-block-jobs', {}),
    ]);
    const atMs = performance.now();
    for (const id of this.#readings.keys()) if (!infos.some((info) => info.id === id)) this.#readings.delete(id);
    return infos.toReversed().map((info) => {
      const block = blocks.find(({ device }) => device === info.id);
      return { info, block, ...this.#rate(info, block?.speed ?? 0, atMs) };
    });
  }

  /** A monitor does not tell what of the progress was passed over: `limit`, the job's own (0: none), says how much of the rate can be copied data at most. */
  #rate(info: JobInfo, limit: number, atMs: number): Pick<JobView, 'bytesPerSecond' | 'etaMs'> {
    const current = info['current-progress'];
    const readings = (this.#readings.get(info.id) ?? []).filter((one) => atMs - one.atMs <= WINDOW_MS);
    this.#readings.set(info.id, [...readings, { atMs, current }]);
    const [first] = readings;
    if (first === undefined || info.status !== 'running') return { bytesPerSecond: undefined, etaMs: undefined };
    const done = Math.max(0, ((current - first.current) / (atMs - first.atMs)) * 1000);
    const left = info['total-progress'] - current;
    return {
      bytesPerSecond: limit > 0 ? Math.min(done, limit) : done,
      etaMs: done > 0 ? (left / done) * 1000 : undefined,
    };
  }
}
