// What the workers of random I/O share: requests of 4 KiB at seeded offsets, so many at a time, and what they cost.

export const BLOCK = 4096;

/**
 * Sends `operations` requests through `request(offset, buffer)`, one at a time for each of `buffers`, after a tenth as many to
 * warm up; then calls `end`, and prints a sample as the bench reads it.
 */
export async function randomWalk({ bytes, operations, buffers, request, end }) {
  const blocks = Math.floor(bytes / BLOCK);
  // The same pseudo-random walk for every run; no Math.random between two requests.
  let state = 12345;
  const nextOffset = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state % blocks) * BLOCK;
  };
  const run = async (count) => {
    let left = count;
    const walk = async (buffer) => {
      while (left-- > 0) await request(nextOffset(), buffer);
    };
    await Promise.all(buffers.map(walk));
  };

  await run(Math.ceil(operations / 10));
  const cpuBefore = process.cpuUsage();
  const before = performance.now();
  await run(operations);
  const wall = (performance.now() - before) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  await end();
  const cpu = (user + system) / 1e6;
  const peakMiB = process.resourceUsage().maxRSS / 1024;
  console.log(JSON.stringify({ wall, cpu, peakMiB, rate: operations / wall }));
}
