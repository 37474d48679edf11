// Runs commands in turns (A B A B ...) and keeps what each run cost.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface Sample {
  /** Seconds of wall time of the work. */
  wall: number;
  /** Seconds of CPU, user and system. */
  cpu: number;
  peakMiB: number;
  /** Operations a second, where the case counts operations. */
  rate?: number;
  /** Microseconds from sending a request to its answer, where the case looks at single requests. */
  p50us?: number;
  p99us?: number;
}

export interface Contender {
  name: string;
  /** The ratio that is aimed at against this peer, where it is not the case's. */
  aim?: number;
  /** Before each run, not measured. */
  prepare?: () => void;
  run: () => Promise<Sample> | Sample;
}

export interface Case {
  name: string;
  /** Bytes of guest data that one run moves, for a rate; 0 where that says nothing. */
  bytes: number;
  ours: Contender;
  peers: Contender[];
  /** The ratio that is aimed at. */
  aim?: number;
}

const NATIVE = fileURLToPath(new URL('../native/', import.meta.url));

/** The environment without what makes only one side slower. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of ['NODE_EXTRA_CA_CERTS', 'NODE_OPTIONS', 'NODE_ENV']) delete env[name];
  return env;
}

/** Compiles a helper of `bench/native` where it is not there or older than its source. */
export function helper(folder: string, name: string): string {
  const source = join(NATIVE, `${name}.c`);
  const program = join(folder, name);
  mkdirSync(folder, { recursive: true });
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    const { status, stderr } = spawnSync('cc', ['-O2', '-Wall', '-o', program, source], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`cc ${source}: ${stderr}`);
  }
  return program;
}

/** A contender's run that is one command. Its output is thrown away; a failure is an error. */
export function command(folder: string, given: readonly string[] | (() => readonly string[])): () => Sample {
  const output = join(folder, 'sample.json');
  return () => {
    const words = typeof given === 'function' ? given() : given;
    const { stderr } = spawnSync(helper(folder, 'measure'), [output, ...words], {
      env: cleanEnvironment(),
      stdio: ['ignore', 'ignore', 'pipe'],
      encoding: 'utf8',
    });
    const sample = JSON.parse(readFileSync(output, 'utf8'));
    if (sample.status !== 0) throw new Error(`${words.join(' ')}: exit ${sample.status}: ${stderr}`);
    return { wall: sample.wall, cpu: sample.user + sample.system, peakMiB: sample.peakKiB / 1024 };
  };
}

/** Starts the memory stabiliser; the result ends it. */
export async function stabilise(folder: string): Promise<() => void> {
  const mib = Math.floor((freemem() / (1 << 20)) * 0.85);
  const child = spawn(helper(folder, 'stabilise'), [String(mib)], { stdio: ['pipe', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('error', reject);
    child.once('exit', () => reject(new Error('the memory stabiliser ended')));
  });
  return () => child.stdin.end();
}

export interface Result {
  contender: string;
  samples: Sample[];
}

/** All contenders in turns, `runs` times after one warm-up each; every other turn goes backwards, since who comes after a writer pays for it. */
export async function inTurns(one: Case, runs: number): Promise<Result[]> {
  const contenders = [one.ours, ...one.peers];
  const results = contenders.map(({ name }) => ({ contender: name, samples: [] as Sample[] }));
  for (let run = -1; run < runs; run++) {
    const turn = [...contenders.entries()];
    for (const [i, contender] of run % 2 === 0 ? turn : turn.reverse()) {
      contender.prepare?.();
      const sample = await contender.run();
      if (run >= 0) results[i].samples.push(sample);
    }
  }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
