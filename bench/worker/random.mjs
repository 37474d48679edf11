// 4 KiB random reads or writes through the built library at one depth: prints operations a second and CPU.
//   node random.mjs '{"path": "...", "format": "raw", "depth": 32, "operations": 400000, "write": false, "direct": false}'
import { Graph } from '../../dist/lib/block/graph.js';
import { openNode } from '../../dist/lib/block/open.js';
import { PERM_ALL, Perm } from '../../dist/lib/block/types.js';
import { registerDrivers } from '../../dist/lib/drivers/index.js';
import { openRealHost } from '../../dist/lib/host/real/index.js';

const { path, format, depth, operations, write, direct } = JSON.parse(process.argv[2]);
registerDrivers();
const host = await openRealHost();
const graph = new Graph(host);
const node = await openNode(graph, path, { format, readOnly: !write, cache: { direct } });
const { CONSISTENT_READ, WRITE } = Perm;
const link = node.attach(
  { userName: 'benchmark' },
  'root',
  write ? CONSISTENT_READ | WRITE : CONSISTENT_READ,
  PERM_ALL,
);
const BLOCK = 4096;
const blocks = Math.floor(node.length / BLOCK);

// The same pseudo-random walk for every run; no Math.random between two requests.
let state = 12345;
function nextOffset() {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state % blocks) * BLOCK;
}

async function run(count) {
  let left = count;
  const walk = async () => {
    const buffer = host.memory.allocate(BLOCK).fill(0x5a);
    while (left-- > 0) await (write ? link.write(nextOffset(), buffer) : link.read(nextOffset(), buffer));
    host.memory.free(buffer);
  };
  await Promise.all(Array.from({ length: depth }, walk));
}

await run(Math.ceil(operations / 10));
const cpuBefore = process.cpuUsage();
const before = performance.now();
await run(operations);
const wall = (performance.now() - before) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
await graph.closeAll();
await host.close();
const cpu = (user + system) / 1e6;
console.log(JSON.stringify({ wall, cpu, peakMiB: process.resourceUsage().maxRSS / 1024, rate: operations / wall }));
