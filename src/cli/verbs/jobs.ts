// `diskwright jobs`: lists and steers the jobs of a process with a QMP monitor: `diskwright daemon`, `diskwright nbd --monitor`, or QEMU's programs.

import { statSync } from 'node:fs';
import type { Client } from '../../qmp/client/client.js';
import { BlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import { BY_SIGNAL } from '../arguments.js';
import { BreakOff } from '../break-off.js';
import { End } from '../end.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { monitorAddress } from '../jobs/address.js';
import { JobSampler } from '../jobs/sample.js';
import { jobObjects, listed } from '../jobs/show.js';
import { JOB_VERBS, type JobOrder, jobOrder } from '../jobs/verbs.js';
import { prettyJson } from '../json.js';
import { isTerminal, standardStream, write } from '../output.js';
import { withSession } from '../session.js';
import type { Verb } from '../verb.js';

/** A rate takes two readings. */
const BETWEEN_MS = 300;

export const verb: Verb = {
  name: 'jobs',
  opensNoImage: true,
  operands: JOB_VERBS,
  laterOperands: [],
  synopsis: '-m MONITOR [--follow] [--json] [VERB ID [SPEED] | execute COMMAND [JSON]]',
  description:
    'Lists the jobs of a process that has a QMP monitor: diskwright daemon, diskwright nbd --monitor, qemu-storage-daemon, or a virtual machine ' +
    'of QEMU. Each has a line: id, type, state, a bar, the rate and the remaining time.\n\n' +
    'With a verb it steers one job: pause ID, resume ID, cancel ID, complete ID, finalize ID, dismiss ID, or set-speed ID BYTES (a second; 0: no ' +
    'limit). The verbs are those of QMP; they end as soon as the process has taken them.\n\n' +
    'execute sends a command of QMP, with its arguments as a JSON object, and prints what it returns, if that is anything.\n\n' +
    'With --follow, a verb or execute is sent first, and then the jobs are shown until all have ended: so a script starts a job, waits for it, and sees in ' +
    'the exit code how it went.\n\n' +
    'A monitor of QEMU has one client at a time: while another program is connected to it, this command gives up after 10 seconds.',
  options: [
    {
      key: 'monitor',
      short: 'm',
      long: 'monitor',
      argument: 'MONITOR',
      help: 'Where the monitor listens: the path of a UNIX socket (also unix:PATH), or tcp:HOST:PORT.',
    },
    {
      key: 'follow',
      long: 'follow',
      help: 'Show the jobs until all have ended. On a terminal the list is drawn again in its place; otherwise there is a line for each new state of a job. A job that waits for a verb (a mirror that is ready waits for complete) goes on until it is given.',
    },
    {
      key: 'json',
      long: 'json',
      help: 'For programs: an array with the members of query-jobs, "percent", "bytes-per-second", "eta-seconds" (null where not known), "speed" and "io-status". With --follow one object a line, whenever something has changed; its "jobs" is that array.',
    },
    {
      key: 'force',
      long: 'force',
      help: 'cancel only: a mirror that is ready drops its copy, and a paused job is cancelled, too.',
    },
    { key: 'help', short: 'h', long: 'help', help: 'Show this help and exit.' },
  ],
  peer: 'QMP',
  notes: [
    [
      'Exit codes',
      `0    done; with --follow: all jobs have ended well\n1    failed; with --follow also: a job failed, was cancelled or got lost\n${BY_SIGNAL}; the jobs go on`,
    ],
  ],
  examples: [
    ['diskwright jobs -m qmp.sock', 'all jobs, once'],
    ['diskwright jobs -m qmp.sock --follow', 'watches them until all have ended'],
    ['diskwright jobs -m qmp.sock --follow complete m', 'lets a mirror switch over, and waits until it has'],
    ['diskwright jobs -m qmp.sock set-speed m 50M', 'limits the job m to 50 MiB a second'],
    [
      `diskwright jobs -m qmp.sock --follow execute drive-backup '{"job-id": "b", "device": "disk", "target": "copy.qcow2", "sync": "full"}'`,
      'backs up a disk that is in use, and waits for it',
    ],
    ['diskwright jobs -m tcp:localhost:4444 cancel m', 'cancels a job of a process whose monitor is on TCP'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const text = options.get('monitor');
  if (text === undefined) throw new UsageError('where is the monitor? Use -m PATH', true);
  const address = monitorAddress(text);
  const [follow, json, force] = ['follow', 'json', 'force'].map((key) => options.has(key));
  const order = options.positional.length === 0 ? null : jobOrder(options.positional, force);
  if (order !== null && json && !follow) throw new UsageError('--json is for lists of jobs: use --follow with it');
  if (order === null && force) throw new UsageError('--force is for cancel only');
  return withSession([], async ({ host }) => {
    const { connectClient } = await import('../../qmp/client/connect.js');
    const { client } = await connectClient(host, address, {}).catch((error: unknown) => {
      throw notConnected(error);
    });
    try {
      if (follow) return await followJobs(client, json, order);
      return order === null ? await list(client, json) : await steer(client, order);
    } finally {
      await client.close(false);
    }
  });
}

/** The error of connecting, which says plainly where nobody listens. */
function notConnected(error: unknown): unknown {
  if (!(error instanceof BlockError) || error.errno !== 'ECONNREFUSED' || error.operation !== 'connect') return error;
  const { path } = error;
  const file = path?.startsWith('/') ? statSync(encodeName(path), { throwIfNoEntry: false }) : undefined;
  const why = file?.isDirectory()
    ? 'it is a directory, not the socket of a monitor'
    : file !== undefined && !file.isSocket()
      ? 'it is not a socket'
      : 'no process listens there';
  return new BlockError(error.code, `${error.reason}: ${why}`, { path, operation: 'connect', cause: error });
}

async function steer(client: Client, order: JobOrder): Promise<number> {
  const breakOff = new BreakOff('The command was sent, and its answer is not known.');
  try {
    showReturned(await order(client));
    return 0;
  } finally {
    breakOff.stop();
  }
}

/** An empty object says only that it was done. */
function showReturned(value: unknown): void {
  const isEmpty =
    typeof value === 'object' && value !== null && Object.keys(value).length === 0 && !Array.isArray(value);
  if (!isEmpty) write(`${prettyJson(value)}\n`);
}

async function list(client: Client, json: boolean): Promise<number> {
  const sampler = new JobSampler(client);
  let jobs = await sampler.sample();
  if (jobs.some(({ info }) => info.status === 'running')) {
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_MS));
    jobs = await sampler.sample();
  }
  if (json) write(`${prettyJson(jobObjects(jobs))}\n`);
  else for (const line of listed(jobs, isTerminal(1) ? standardStream(1).columns : 0)) write(`${line}\n`);
  return 0;
}

async function followJobs(client: Client, json: boolean, order: JobOrder | null): Promise<number> {
  const end = new End();
  try {
    const { follow } = await import('../jobs/follow.js');
    const begin = order === null ? undefined : async () => showReturned(await order(client));
    const code = await follow(client, new JobSampler(client), end, json, begin);
    return end.over ? end.exitCode : code;
  } finally {
    end.stop();
  }
}
