// Reads through a throttle filter as fast as it lets them go, from a node without a disk: prints requests a second and CPU.
//   node throttle.mjs '{"limits": {"iops-total": 1000}, "blockBytes": 4096, "depth": 16, "warmUpSeconds": 1, "seconds": 10}'
import { Graph } from '../../dist/lib/block/graph.js';
import { openNode } from '../../dist/lib/block/open.js';
import { PERM_ALL, Perm } from '../../dist/lib/block/types.js';
import { registerDrivers } from '../../dist/lib/drivers/index.js';
import { openRealHost } from '../../dist/lib/host/real/index.js';

const { limits, blockBytes, depth, warmUpSeconds, seconds } = JSON.parse(process.argv[2]);
registerDrivers();
const host = await openRealHost();
const graph = new Graph(host);
await graph.objects.add({ 'qom-type': 'throttle-group', id: 'g', limits });
const node = await openNode(graph, { driver: 'throttle', 'throttle-group': 'g', file: { driver: 'null-co' } });
const link = node.attach({ userName: 'benchmark' }, 'root', Perm.CONSISTENT_READ, PERM_ALL);
const buffers = Array.from({ length: depth }, () => host.memory.allocate(blockBytes));

async function run(forSeconds) {
  const end = performance.now() + forSeconds * 1000;
  let count = 0;
  const read = async (buffer) => {
    while (performance.now() < end) {
      await link.read(0, buffer);
      if (performance.now() < end) count++;
    }
  };
  await Promise.all(buffers.map(read));
  return count;
}

if (warmUpSeconds > 0) await run(warmUpSeconds);
const cpuBefore = process.cpuUsage();
const count = await run(seconds);
const { user, system } = process.cpuUsage(cpuBefore);
node.abortStalled();
await graph.closeAll();
await host.close();
const peakMiB = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({ wall: seconds, cpu: (user + system) / 1e6, peakMiB, rate: count / seconds }));
