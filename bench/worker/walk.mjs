// Walks over the extents of an image through the library, and adds up what is data: as much as `qemu-img measure` finds out of the source.
//   node walk.mjs IMAGE
import { map, shutdown } from '../../dist/lib/index.js';

let data = 0;
for await (const extent of map(process.argv[2])) if (extent.data) data += extent.length;
console.log(data);
await shutdown();
