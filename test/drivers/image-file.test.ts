// What the file under an image remembers of the space that it reserved.
import { expect } from 'chai';
import { describe, it } from 'mocha';
import type { Child } from '../../src/block/child.js';
import { ImageFile } from '../../src/drivers/image-file.js';

const MIB = 1 << 20;

/** A link to a file of 4 MiB that answers a request for space when it is told to. */
function slowFile() {
  const asked: { offset: number; answer: () => void }[] = [];
  const link = {
    filename: 'p',
    length: 4 * MIB,
    reserve: (offset: number, length: number) =>
      new Promise<number>((resolve) => asked.push({ offset, answer: () => resolve(offset + length) })),
    discard: async () => {},
    truncate: async () => {},
  };
  return { asked, file: new ImageFile(() => link as unknown as Child) };
}

describe('qcow2: space that was reserved', () => {
  it('is not asked for twice', async () => {
    const { asked, file } = slowFile();
    const first = file.reserve(MIB, MIB);
    asked[0].answer();
    await first;
    await file.reserve(MIB, MIB);
    expect(asked.length).to.equal(1);
  });

  for (const [title, deallocate] of [
    ['discarded', (file: ImageFile) => file.discard(MIB, MIB)],
    ['cut off', (file: ImageFile) => file.cut(MIB)],
  ] as const) {
    it(`is asked for again where the range was ${title} while it was being reserved`, async () => {
      const { asked, file } = slowFile();
      const first = file.reserve(MIB, MIB);
      await deallocate(file);
      asked[0].answer();
      await first;
      const second = file.reserve(MIB, MIB);
      expect(asked.length).to.equal(2);
      asked[1].answer();
      await second;
    });
  }
});
