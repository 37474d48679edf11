// Images whose sizes are no whole sectors, as NBD exports beside qemu-nbd: the size, the last bytes (read, written, zeroed, discarded),
// block status there, and the file afterwards.

import { createHash, randomBytes } from 'node:crypto';
import { closeSync, copyFileSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { expect } from 'chai';
import { must, useNbd } from './nbd-support.js';
import { qemuImg } from './support.js';

const SIZES = [1, 511, 513, 4095, 4097, 65535, 65537, (1 << 20) + 1];

/** Prints an answer a line. The disk may be empty, and shorter than what is asked for. */
const SCRIPT = `
import hashlib
def say(name, action):
    try:
        print(name, action())
    except nbd.Error as error:
        print(name, 'ERROR', error.errno)
def status():
    found = []
    if size > 0: h.block_status(size, 0, lambda context, at, entries, error: found.extend(entries))
    return found
size = h.get_size()
say('size', lambda: (size, [h.get_block_size(kind) for kind in range(3)]))
say('status', status)
say('behind', lambda: h.pread(2, max(size - 1, 0)))
say('write behind', lambda: h.pwrite(b'x', size))
if size > 0:
    last = min(size, 700)
    say('read', lambda: hashlib.sha256(bytes(h.pread(size, 0))).hexdigest())
    say('write', lambda: h.pwrite(b'w', size - 1))
    say('read the end', lambda: bytes(h.pread(last, size - last)))
    say('zero', lambda: h.zero(last, size - last))
    say('status', status)
    say('write', lambda: h.pwrite(b'abc', size - 3))
    say('trim', lambda: h.trim(512, size - 512))
    say('flush', lambda: h.flush())
    say('read', lambda: hashlib.sha256(bytes(h.pread(size, 0))).hexdigest())
    say('status', status)
`;

describe('nbd: sizes that are no whole sectors, as qemu-nbd exports them', () => {
  const bench = useNbd('qemu-nbd', 'nbdsh');

  function make(path: string, format: string, bytes: number): void {
    if (format === 'raw') {
      writeFileSync(path, randomBytes(bytes));
      return;
    }
    const source = `${path}.raw`;
    writeFileSync(source, randomBytes(Math.ceil(bytes / 65536 + 1) * 65536));
    qemuImg('convert', '-f', 'raw', '-O', 'qcow2', source, path);
    const field = Buffer.alloc(8);
    field.writeBigUInt64BE(BigInt(bytes));
    const file = openSync(path, 'r+');
    writeSync(file, field, 0, 8, 24);
    closeSync(file);
  }

  for (const format of ['raw', 'qcow2']) {
    for (const bytes of SIZES) {
      it(`${format} of ${bytes} bytes`, async () => {
        const [a, b] = [bench().path('a'), bench().path('b')];
        make(a, format, bytes);
        copyFileSync(a, b);
        const ours = await bench().ours(a, format, { open: { discard: 'unmap' } });
        const theirs = await bench().qemuNbd(b, format, '--discard=unmap');
        const ask = ({ uri }: { uri: string }) =>
          must('nbdsh', ['--base-allocation', '-u', uri, '-c', '-'], SCRIPT).then((text) => text.split('\n'));
        expect(await ask(ours)).to.deep.equal(await ask(theirs));
        await ours.close();
        await bench().end(theirs);
        const content = (path: string) => {
          if (format === 'raw') return createHash('sha256').update(readFileSync(path)).digest('hex');
          return (
            qemuImg('convert', '-f', format, '-O', 'raw', path, `${path}.raw`) + readFileSync(`${path}.raw`, 'hex')
          );
        };
        expect(content(a)).to.equal(content(b));
      });
    }
  }
});
