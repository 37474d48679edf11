// 4 KiB random reads or writes through the built library at one depth: prints operations a second and CPU.
// `options` in place of `path` open what is read; a throttle filter's group 'g' has no limits, the secret 's' is the benchmark's.
//   node random.mjs '{"path": "...", "format": "raw", "depth": 32, "operations": 400000, "write": false, "direct": false}'
import { Graph } from '../../dist/lib/block/graph.js';
import { openNode } from '../../dist/lib/block/open.js';
import { PERM_ALL, Perm } from '../../dist/lib/block/types.js';
import { registerDrivers } from '../../dist/lib/drivers/index.js';
import { openRealHost } from '../../dist/lib/host/real/index.js';
import { BLOCK, randomWalk } from './random-walk.mjs';

const { path, options, format, depth, operations, write, direct } = JSON.parse(process.argv[2]);
registerDrivers();
const host = await openRealHost();
const graph = new Graph(host);
await graph.objects.add({ 'qom-type': 'throttle-group', id: 'g' });
await graph.objects.add({ 'qom-type': 'secret', id: 's', data: 'benchmark' });
const how = { cache: { direct } };
// A copy-on-read filter writes to what is only read through it.
const node = await (options === undefined
  ? openNode(graph, path, { ...how, format, readOnly: !write })
  : openNode(graph, options, how));
const { CONSISTENT_READ, WRITE } = Perm;
const link = node.attach(
  { userName: 'benchmark' },
  'root',
  write ? CONSISTENT_READ | WRITE : CONSISTENT_READ,
  PERM_ALL,
);
await randomWalk({
  bytes: node.length,
  operations,
  buffers: Array.from({ length: depth }, () => host.memory.allocate(BLOCK).fill(0x5a)),
  request: write ? (offset, buffer) => link.write(offset, buffer) : (offset, buffer) => link.read(offset, buffer),
  async end() {
    await graph.closeAll();
    await host.close();
  },
});
