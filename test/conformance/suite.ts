// What every file of the conformance suite has of the driver under test, and how it declares a behaviour.

import { expect } from 'chai';
import type { BlockNode } from '../../src/block/node/node.js';
import type { BlockStatus } from '../../src/block/types.js';
import { seedsOf } from '../support/sample.js';
import type { Capabilities, DriverEntry, Subject } from './entry.js';
import type { Place, PlaceKind } from './place.js';

export interface Bench extends Subject {
  place: Place;
  seed: number;
  /** Closes the image and opens it once more. */
  again(readOnly?: boolean): Promise<BlockNode>;
}

/** One driver in one kind of place. */
export interface Suite {
  kind: PlaceKind;
  driver: DriverEntry;
  capabilities: Capabilities;
  /** Bytes of each image. */
  size: number;
  /** Bytes that the driver handles as one. */
  unit: number;
  /** A test with an image of its own. Everything is closed afterwards, and no buffer is kept. */
  behaves(what: string, test: (bench: Bench) => Promise<void>, seed?: number): void;
}

export const SEEDS = seedsOf({ fixed: 2, soak: 50 });
/** A file below tells holes in steps of so many bytes. */
export const PAGE = 4096;

export function bytesOf(runs: readonly BlockStatus[], kind: 'data' | 'allocated'): number {
  return runs.reduce((sum, run) => sum + (run[kind] ? run.length : 0), 0);
}

/** The suite of one driver in one kind of place. */
export function suiteOf(kind: PlaceKind, driver: DriverEntry): Suite {
  const { size } = driver;
  const capabilities = { ...driver.capabilities, ...(kind.device ? driver.onDevice : {}) };
  const unit = capabilities.compressed || 4096;

  function behaves(what: string, test: (bench: Bench) => Promise<void>, seed = 1): void {
    it(what, async () => {
      const place = kind.make(seed);
      try {
        await place.run(async () => {
          let subject = await driver.make(place);
          const again = async (readOnly = false): Promise<BlockNode> => {
            await subject.graph.closeAll();
            const node = await driver.open(place, { readOnly: readOnly && capabilities.readOnly });
            subject = { ...subject, graph: node.graph, node };
            return node;
          };
          await test({ ...subject, place, seed, again });
          await subject.graph.closeAll();
        });
        expect(place.sim?.memory.liveBuffers ?? 0, 'buffers that were not given back').to.equal(0);
      } finally {
        await place.close();
      }
    });
  }

  return { kind, driver, capabilities, size, unit, behaves };
}
