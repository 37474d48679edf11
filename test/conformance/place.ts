// Where the suite runs: a simulated disk that answers out of order, and each engine of the real host.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { openRealHost } from '../../src/host/real/index.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { ENGINES } from '../host/engines.js';

export interface Place {
  readonly host: Host;
  /** The same, where it is simulated. */
  readonly sim: SimHost | null;
  path(name: string): string;
  /** What is to be ended before the place is closed. */
  readonly endings: (() => Promise<void>)[];
  /** Runs a test to its end. */
  run(work: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

export interface PlaceKind {
  readonly name: string;
  readonly simulated: boolean;
  /** Whether this machine has such places. */
  available(): boolean;
  /** A place of its own for one test. */
  make(seed: number): Place;
}

const simulated: PlaceKind = {
  name: 'simulated',
  simulated: true,
  available: () => true,
  make(seed) {
    const sim = createSimHost({ seed, eager: false });
    return {
      host: sim,
      sim,
      path: (name) => `/${name}`,
      endings: [],
      run: (work) => sim.run(work),
      close: () => sim.close(),
    };
  },
};

function real(engine: (typeof ENGINES)[number]): PlaceKind {
  return {
    name: engine,
    simulated: false,
    available() {
      try {
        void openRealHost({ engine }).close();
        return true;
      } catch (error) {
        if (error instanceof BlockError && error.code === 'unsupported') return false;
        throw error;
      }
    },
    make() {
      const host = openRealHost({ engine });
      const folder = mkdtempSync(join(tmpdir(), 'diskwright-conformance-'));
      const endings: (() => Promise<void>)[] = [];
      return {
        endings,
        host,
        sim: null,
        path: (name) => join(folder, name),
        run: (work) => work(),
        async close() {
          for (const end of endings) await end();
          await host.close();
          rmSync(folder, { recursive: true, force: true });
        },
      };
    },
  };
}

export const PLACES: readonly PlaceKind[] = [simulated, ...ENGINES.map(real)];
