// 4 KiB random reads or writes through the public library of a build, at one depth: prints operations a second and CPU.
//   node image.mjs '{"library": "file:///.../dist/lib/index.js", "path": "...", "format": "raw", "depth": 32, "operations": 400000, "write": false}'
import { BLOCK, randomWalk } from './random-walk.mjs';

const { library, path, format, depth, operations, write, direct } = JSON.parse(process.argv[2]);
const { open, shutdown } = await import(library);
const image = await open(path, { format, readOnly: !write, cache: { direct } });
await randomWalk({
  // Builds before `size` was called so have `length`.
  bytes: image.size ?? image.length,
  operations,
  buffers: Array.from({ length: depth }, () => Buffer.alloc(BLOCK, 0x5a)),
  request: write ? (offset, buffer) => image.write(offset, buffer) : (offset, buffer) => image.read(offset, buffer),
  async end() {
    await image.close();
    await shutdown();
  },
});
