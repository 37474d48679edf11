// A program of a careless user (see left-open.test.ts): changes an image as `what` says, and ends without closing it.
import { open, openRealHost, Workspace } from '../../src/index.js';

const [path, what] = process.argv.slice(2);
const own = new Workspace(openRealHost());
const image = await (what === 'closes the workspace' ? own : { open }).open(path);
if (what === 'writes') await image.write(0, Buffer.from('hello'));
if (what === 'flushes') {
  await image.write(0, Buffer.from('hello'));
  await image.flush();
}
if (what === 'closes the workspace') await image.write(0, Buffer.from('hello'));
await own.close();
if (what === 'closes') {
  await image.write(0, Buffer.from('hello'));
  await image.close();
}
if (what === 'discards') await image.discard(0, 65536);
if (what === 'resizes') await image.resize(2 << 20);
if (what === 'reads') await image.read(0, 512);
if (what === 'throws in a listener') {
  const { convert } = await import('../../src/index.js');
  await image.close();
  await convert(path, `${path}.copy.qcow2`, {
    onProgress: () => {
      throw new TypeError('mistaken');
    },
  });
}
