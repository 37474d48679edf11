// One job through the built library, in a process of its own: prints what the job took, without the process's start.
//   node job.mjs '{"nodes": [...], "command": "blockdev-mirror", "arguments": {...}}'
// With `"rate": {"seconds": 3, "bytes": N}` it runs for so long, and `wall` is the time that N bytes take at the rate that it kept.
import { Graph } from '../../dist/lib/block/graph.js';
import { openNode } from '../../dist/lib/block/open.js';
import { registerDrivers } from '../../dist/lib/drivers/index.js';
import { openRealHost } from '../../dist/lib/host/real/index.js';
import { JobManager } from '../../dist/lib/jobs/manager.js';
import { findJobType } from '../../dist/lib/jobs/registry.js';
import { startJob } from '../../dist/lib/jobs/start.js';
import { parseBlockdevOptions } from '../../dist/lib/schema/options.js';

const TYPES = {
  'block-stream': 'stream',
  'block-commit': 'commit',
  'blockdev-mirror': 'mirror',
  'blockdev-backup': 'backup',
};

const task = JSON.parse(process.argv[2]);
registerDrivers();
const host = await openRealHost();
const graph = new Graph(host);
for (const options of task.nodes) await openNode(graph, parseBlockdevOptions(options));
const cpuBefore = process.cpuUsage();
const before = performance.now();
const job = await startJob({ graph, manager: new JobManager(host.clock) }, findJobType(TYPES[task.command]), {
  'job-id': 'job0',
  ...task.arguments,
});
job.on('BLOCK_JOB_READY', () => void job.complete());
const wall = task.rate === undefined ? await toTheEnd() : task.rate.bytes / (await rateOf(task.rate.seconds));
const { user, system } = process.cpuUsage(cpuBefore);
await graph.closeAll();
await host.close();
console.log(JSON.stringify({ wall, cpu: (user + system) / 1e6, peakMiB: process.resourceUsage().maxRSS / 1024 }));

async function toTheEnd() {
  await job.done;
  return (performance.now() - before) / 1000;
}

/** Bytes a second, by the line through what it had copied when, the first half second left out: it begins with a burst. */
async function rateOf(seconds) {
  const points = [];
  const end = job.progress.watch(() => points.push([performance.now() / 1000, job.progress.current]));
  await new Promise((resolve) => setTimeout(resolve, 500));
  points.length = 0;
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
  end();
  job.cancel(true);
  await job.done.catch(() => undefined);
  const mean = (i) => points.reduce((sum, point) => sum + point[i], 0) / points.length;
  const [time, bytes] = [mean(0), mean(1)];
  const over = points.reduce((sum, [t, b]) => sum + (t - time) * (b - bytes), 0);
  return over / points.reduce((sum, [t]) => sum + (t - time) ** 2, 0);
}
