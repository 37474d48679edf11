// Runs a group of tests over each engine of the real host (or the one that DISKWRIGHT_ENGINE names), with a folder of its own that goes away afterwards.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostFile, OpenFileOptions } from '../../src/host/host.js';
import { openRealHost, type RealHost, type RealHostOptions } from '../../src/host/real/index.js';
import { BlockError } from '../../src/util/errors.js';
import { leaveOut } from '../support/needs.js';

const NAMES = ['threads', 'io_uring'] as const;

export const ENGINES = NAMES.filter((name) => (process.env['DISKWRIGHT_ENGINE'] || name) === name);

export interface Bench {
  host: RealHost;
  folder: string;
  /** A path in the folder. */
  path(name: string): string;
  /** Opens a file in the folder; writable and made where it is not there, unless told otherwise. */
  open(name: string, options?: Partial<OpenFileOptions>): Promise<HostFile>;
}

export function overEngines(
  title: string,
  define: (bench: Bench) => void,
  options: Omit<RealHostOptions, 'engine'> = {},
): void {
  for (const engine of ENGINES) {
    describe(`${title} (${engine})`, () => {
      const bench = {
        path: (name: string) => join(bench.folder, name),
        open: (name: string, how: Partial<OpenFileOptions> = {}) =>
          bench.host.open(bench.path(name), { writable: true, create: 'keep', ...how }),
      } as Bench;
      before(function () {
        bench.folder = mkdtempSync(join(tmpdir(), 'diskwright-host-'));
        try {
          bench.host = openRealHost({ ...options, engine });
        } catch (error) {
          if (!(error instanceof BlockError) || error.code !== 'unsupported') throw error;
          leaveOut(this, 'io_uring');
        }
      });
      afterEach(() => bench.host.setFaults({}));
      after(async () => {
        await bench.host?.close();
        rmSync(bench.folder, { recursive: true, force: true });
      });
      define(bench);
    });
  }
}

/** The error that `promise` rejects with; fails where it resolves, or where it is no `BlockError`. */
export async function failure(promise: Promise<unknown>): Promise<BlockError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof BlockError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

/** Bytes that repeat nowhere near, from `seed`. */
export function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = seed | 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
