// 4 KiB random reads or writes through the public library of a build, at one depth: prints operations a second and CPU.
//   node image.mjs '{"library": "file:///.../dist/lib/index.js", "path": "...", "format": "raw", "depth": 32, "operations": 400000, "write": false}'
const { library, path, format, depth, operations, write, direct } = JSON.parse(process.argv[2]);
const { open, shutdown } = await import(library);
const image = await open(path, { format, readOnly: !write, cache: { direct } });
const BLOCK = 4096;
const blocks = Math.floor((image.size ?? image.length) / BLOCK);

// The same pseudo-random walk for every run; no Math.random between two requests.
let state = 12345;
function nextOffset() {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state % blocks) * BLOCK;
}

async function run(count) {
  let left = count;
  const walk = async () => {
    const buffer = Buffer.alloc(BLOCK, 0x5a);
    while (left-- > 0) await (write ? image.write(nextOffset(), buffer) : image.read(nextOffset(), buffer));
  };
  await Promise.all(Array.from({ length: depth }, walk));
}

await run(Math.ceil(operations / 10));
const cpuBefore = process.cpuUsage();
const before = performance.now();
await run(operations);
const wall = (performance.now() - before) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
await image.close();
await shutdown();
const cpu = (user + system) / 1e6;
console.log(JSON.stringify({ wall, cpu, peakMiB: process.resourceUsage().maxRSS / 1024, rate: operations / wall }));
