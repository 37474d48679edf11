// A guest of a daemon: it writes blocks over NBD, and knows of each block what it may hold, also when the daemon is killed.
//
//   write n --> the block may hold n, or what it held: until the answer to the next flush, whatever was written since the last one
//   flush   --> it holds the last one that was answered before
//
// A block is filled with its number and a version, so that what is read says which write it is of.

import type { Random } from '../../src/host/sim/random.js';
import type { Image } from '../../src/index.js';

export const BLOCK_BYTES = 4096;

interface Block {
  /** Version that must be read now, while the daemon lives. */
  now: number;
  /** Versions of which one is on the disk after a crash. */
  possible: Set<number>;
}

export class Guest {
  writes = 0;
  readonly #image: Image;
  readonly #random: Random;
  readonly #blocks: Block[];
  #stopped = false;
  #version = 0;

  constructor(image: Image, random: Random) {
    this.#image = image;
    this.#random = random;
    this.#blocks = Array.from({ length: image.size / BLOCK_BYTES }, () => ({ now: 0, possible: new Set([0]) }));
  }

  /** Writes until `stop`, or until the daemon has gone. Rejects where what is read is wrong. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#step();
      } catch (error) {
        if (error instanceof WrongContent || !this.#stopped) throw error;
        return;
      }
    }
  }

  /** It ends; an error that comes from now on is the daemon's end. */
  stop(): void {
    this.#stopped = true;
  }

  async #step(): Promise<void> {
    const at = this.#random.below(this.#blocks.length);
    const block = this.#blocks[at];
    const draw = this.#random.fraction();
    if (draw < 0.55) {
      const version = ++this.#version;
      block.possible.add(version);
      await this.#image.write(at * BLOCK_BYTES, filled(at, version));
      block.now = version;
      this.writes++;
    } else if (draw < 0.62) {
      block.possible.add(0);
      await this.#image.writeZeroes(at * BLOCK_BYTES, BLOCK_BYTES, { mayUnmap: true });
      block.now = 0;
      this.writes++;
    } else if (draw < 0.92) {
      const read = await this.#image.read(at * BLOCK_BYTES, BLOCK_BYTES);
      if (versionOf(read, at) !== block.now) throw new WrongContent(at, block.now, read);
    } else {
      const flushed = this.#blocks.map(({ now }) => now);
      await this.#image.flush();
      for (const [i, { possible }] of this.#blocks.entries()) {
        possible.clear();
        possible.add(flushed[i]);
      }
    }
  }

  /** What of an image's content is wrong: of all blocks after a clean end, or after a crash. Empty where nothing is. */
  async differences(image: Image, crashed: boolean): Promise<string[]> {
    const wrong: string[] = [];
    for (const [at, { now, possible }] of this.#blocks.entries()) {
      const version = versionOf(await image.read(at * BLOCK_BYTES, BLOCK_BYTES), at);
      if (crashed ? possible.has(version) : version === now) continue;
      wrong.push(`block ${at} holds version ${version}, expected ${crashed ? [...possible].join(' or ') : now}`);
    }
    return wrong;
  }
}

class WrongContent extends Error {
  constructor(at: number, expected: number, read: Uint8Array) {
    super(`block ${at} holds version ${versionOf(read, at)}, expected ${expected}`);
  }
}

function filled(block: number, version: number): Uint8Array {
  const words = new Uint32Array(BLOCK_BYTES / 4);
  for (let i = 0; i < words.length; i += 2) {
    words[i] = block;
    words[i + 1] = version;
  }
  return new Uint8Array(words.buffer);
}

/** 0 for zeroes, -1 for what no write of this block has written. */
function versionOf(bytes: Uint8Array, block: number): number {
  const words = new Uint32Array(bytes.slice().buffer);
  if (words.every((word) => word === 0)) return 0;
  const version = words[1];
  return words.every((word, i) => word === (i % 2 === 0 ? block : version)) ? version : -1;
}
