// Encrypts sectors with AES-256 in XTS mode, one request after the other on this thread: prints bytes a second.
//   node cipher.mjs '{"bytes": 16384, "seconds": 2}'
import { openRealHost } from '../../dist/lib/host/real/index.js';

const SECTOR = 512;
const { bytes, seconds } = JSON.parse(process.argv[2]);
const host = await openRealHost();
const key = Uint8Array.from({ length: 64 }, (_, i) => i);
const cipher = host.ciphers.open({ mode: 'xts', vectors: 'plain64', key });
const input = host.memory.allocate(bytes).fill(0x5a);
const output = host.memory.allocate(bytes);
const start = performance.now();
let done = 0;
while (performance.now() - start < seconds * 1000) {
  // Several at a time, as a guest has them under way.
  const parts = Array.from({ length: 64 }, (_, i) => cipher.encrypt(done / SECTOR + i, input, output));
  await Promise.all(parts);
  done += parts.length * bytes;
}
const wall = (performance.now() - start) / 1000;
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ wall, cpu: (user + system) / 1e6, peakMiB: 0, rate: done / wall }));
cipher.close();
await host.close();
