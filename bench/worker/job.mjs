// One job through the built library, in a process of its own: prints what the job took, without the process's start.
//   node job.mjs '{"nodes": [...], "command": "blockdev-mirror", "arguments": {...}}'
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
await job.done;
const wall = (performance.now() - before) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
await graph.closeAll();
await host.close();
console.log(JSON.stringify({ wall, cpu: (user + system) / 1e6, peakMiB: process.resourceUsage().maxRSS / 1024 }));
