// Where the suite runs: a simulated disk that answers out of order, and each engine of the real host. With DISKWRIGHT_LOOP_SECTOR=4096
// (`npm run soak -- devices`) it runs on loop devices with sectors of so many bytes instead.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Host } from '../../src/host/host.js';
import { openRealHost } from '../../src/host/real/index.js';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';
import { ENGINES } from '../host/engines.js';
import type { Need } from '../support/needs.js';

export interface Place {
  readonly host: Host;
  /** The same, where it is simulated. */
  readonly sim: SimHost | null;
  path(name: string): string;
  /** What drives `path('a')`: a device has a size of its own. */
  readonly disk: 'file' | 'host_device';
  /** What is to be ended before the place is closed. */
  readonly endings: (() => Promise<void>)[];
  /** Runs a test to its end. */
  run(work: () => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

export interface PlaceKind {
  readonly name: string;
  readonly simulated: boolean;
  /** `path('a')` is a block device. */
  readonly device: boolean;
  /** What this machine lacks for such places; null where they can be made. */
  lacks(): Need | null;
  /** A place of its own for one test. */
  make(seed: number): Place;
}

const simulated: PlaceKind = {
  name: 'simulated',
  simulated: true,
  device: false,
  lacks: () => null,
  make(seed) {
    const sim = createSimHost({ seed, eager: false });
    return {
      host: sim,
      sim,
      path: (name) => `/${name}`,
      disk: 'file',
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
    device: false,
    lacks() {
      try {
        void openRealHost({ engine }).close();
        return null;
      } catch (error) {
        if (error instanceof BlockError && error.code === 'unsupported') return 'io_uring';
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
        disk: 'file',
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

const DEVICE_BYTES = 64 << 20;

/** Attaches `file`; null where this machine makes no such loop device. */
function attach(file: string, sector: number): string | null {
  writeFileSync(file, '');
  truncateSync(file, DEVICE_BYTES);
  const made = spawnSync('losetup', ['--find', '--show', '--sector-size', `${sector}`, file], { encoding: 'utf8' });
  return made.status === 0 ? made.stdout.trim() : null;
}

function detach(device: string): void {
  const { status, stderr } = spawnSync('losetup', ['--detach', device], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`losetup --detach ${device}: ${stderr}`);
}

/** As `real`, and `path('a')` leads to a loop device of the place's own, empty at first. All other names are files. */
function onDevice(engine: (typeof ENGINES)[number], sector: number): PlaceKind {
  const inner = real(engine);
  return {
    ...inner,
    name: `${engine}, a device with sectors of ${sector}`,
    device: true,
    lacks() {
      const folder = mkdtempSync(join(tmpdir(), 'diskwright-conformance-'));
      const device = attach(join(folder, 'device'), sector);
      if (device !== null) detach(device);
      rmSync(folder, { recursive: true });
      return device === null ? 'loop devices' : inner.lacks();
    },
    make(seed) {
      const place = inner.make(seed);
      const device = attach(place.path('device'), sector);
      if (device === null) throw new Error('no loop device could be made any more');
      symlinkSync(device, place.path('a'));
      return {
        ...place,
        disk: 'host_device',
        async close() {
          try {
            await place.close();
          } finally {
            detach(device);
          }
        },
      };
    },
  };
}

const SECTOR = Number(process.env['DISKWRIGHT_LOOP_SECTOR'] ?? 0);

export const SIMULATED_PLACES: readonly PlaceKind[] = SECTOR > 0 ? [] : [simulated];

export const REAL_PLACES: readonly PlaceKind[] = ENGINES.map((engine) =>
  SECTOR > 0 ? onDevice(engine, SECTOR) : real(engine),
);
