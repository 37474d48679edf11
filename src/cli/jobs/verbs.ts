// What `diskwright jobs` can tell a monitor: a verb for one job, or a command of QMP.

import type { Client } from '../../qmp/client/client.js';
import { sizeValue } from '../arguments.js';
import { UsageError } from '../getopt.js';

/** Sends the command. Rejects with what the server says. */
export type JobOrder = (client: Client) => Promise<unknown>;

const PLAIN = ['pause', 'resume', 'complete', 'finalize', 'dismiss'] as const;

export const JOB_VERBS = [...PLAIN, 'cancel', 'set-speed', 'execute'] as const;

/** The order that these words give: `pause ID`, `set-speed ID BYTES`, `execute COMMAND JSON`. Throws `UsageError`. */
export function jobOrder([verb, id, ...rest]: readonly string[], force: boolean): JobOrder {
  if (!(JOB_VERBS as readonly string[]).includes(verb)) {
    throw new UsageError(`'${verb}' is none of ${JOB_VERBS.slice(0, -1).join(', ')} and ${JOB_VERBS.at(-1)}`, true);
  }
  if (verb === 'execute') return commandOrder([id, ...rest], force);
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

/** Any command of QMP, with its arguments as JSON. What it returns is the order's result. */
function commandOrder([command, text = '{}', ...more]: readonly (string | undefined)[], force: boolean): JobOrder {
  if (command === undefined) throw new UsageError('execute needs the name of a QMP command', true);
  if (force) throw new UsageError('--force is for cancel only');
  if (more.length > 0) throw new UsageError('too many words for execute: the arguments are one JSON object', true);
  const args = argumentsIn(text);
  return (client) => client.execute(command, args, false, undefined);
}

function argumentsIn(text: string): object {
  let found: unknown;
  try {
    found = JSON.parse(text);
  } catch (error) {
    throw new UsageError(`the arguments of the command are no JSON: ${(error as Error).message}`);
  }
  if (typeof found === 'object' && found !== null && !Array.isArray(found)) return found;
  throw new UsageError(`the arguments of the command must be a JSON object: '{"device": "disk"}'`);
}

/** A ready mirror that is cancelled without force keeps its copy; that is a matter of block jobs only. */
async function cancel(client: Client, id: string, force: boolean): Promise<void> {
  const isBlock = (await client.call('query-block-jobs', {})).some(({ device }) => device === id);
  if (isBlock) await client.call('block-job-cancel', { device: id, force });
  else await client.call('job-cancel', { id });
}
