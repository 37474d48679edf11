// What `diskwright jobs` can do with one job.

import type { Client } from '../../qmp/client/client.js';
import { sizeValue } from '../arguments.js';
import { UsageError } from '../getopt.js';

/** Sends the command. Rejects with what the server says. */
export type JobOrder = (client: Client) => Promise<unknown>;

const PLAIN = ['pause', 'resume', 'complete', 'finalize', 'dismiss'] as const;

export const JOB_VERBS = [...PLAIN, 'cancel', 'set-speed'] as const;

/** The order that these words give: `pause ID`, `set-speed ID BYTES`. Throws `UsageError`. */
export function jobOrder([verb, id, ...rest]: readonly string[], force: boolean): JobOrder {
  if (!(JOB_VERBS as readonly string[]).includes(verb)) {
    throw new UsageError(`'${verb}' is none of ${JOB_VERBS.slice(0, -1).join(', ')} and ${JOB_VERBS.at(-1)}`, true);
  }
  if (id === undefined) throw new UsageError(`${verb} needs the id of a job`, true);
  if (force && verb !== 'cancel') throw new UsageError('--force is for cancel only');
  if (rest.length > (verb === 'set-speed' ? 1 : 0)) throw new UsageError(`too many words for ${verb}`, true);
  if (verb === 'cancel') return (client) => cancel(client, id, force);
  if (verb === 'set-speed') {
    if (rest.length === 0) throw new UsageError('set-speed needs an id and bytes per second (0: no limit)', true);
    const speed = sizeValue(rest[0], 'rate limit');
    return (client) => client.call('block-job-set-speed', { device: id, speed });
  }
  const plain = PLAIN.find((one) => one === verb) as (typeof PLAIN)[number];
  return (client) => client.call(`job-${plain}`, { id });
}

/** A ready mirror that is cancelled without force keeps its copy; that is a matter of block jobs only. */
async function cancel(client: Client, id: string, force: boolean): Promise<void> {
  const isBlock = (await client.call('query-block-jobs', {})).some(({ device }) => device === id);
  if (isBlock) await client.call('block-job-cancel', { device: id, force });
  else await client.call('job-cancel', { id });
}
