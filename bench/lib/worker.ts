// Runs a worker of bench/worker: our side of what is measured inside of a process.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { cleanEnvironment, type Sample } from './measure.js';

export function worker(name: 'cipher' | 'image' | 'job' | 'random' | 'throttle', task: object): Sample {
  const script = fileURLToPath(new URL(`../worker/${name}.mjs`, import.meta.url));
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, JSON.stringify(task)], {
    env: cleanEnvironment(),
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${name} ${JSON.stringify(task)}: exit ${status}: ${stderr}`);
  return JSON.parse(stdout) as Sample;
}
