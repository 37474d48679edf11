// The house of DESIGN: each layer imports only from the ones below it. This test walks the imports of `src/`.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** Lowest first. A layer may import from itself and from the ones before it. */
const LAYERS = ['util', 'schema', 'wire', 'host', 'block', 'drivers', 'jobs', 'exports', 'qmp', 'cli'];

function sources(): string[] {
  return (readdirSync(SRC, { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]);
}

/** The layer of a path below `src/`; null for `index.ts`, which stands above all but `cli`. */
function layerOf(file: string): number | null {
  const folder = file.split('/')[0];
  return file.includes('/') ? LAYERS.indexOf(folder) : null;
}

/** Every arrow that points up, as `from -> to`. */
export function arrowsUp(files: readonly string[], importsIn: (file: string) => string[]): string[] {
  const wrong: string[] = [];
  for (const file of files) {
    const from = layerOf(file);
    if (from === null) continue;
    for (const target of importsIn(file)) {
      if (!target.startsWith('.')) continue;
      const path = normalize(join(dirname(file), target));
      const to = layerOf(path);
      if (to === null ? from < LAYERS.indexOf('cli') : to > from) wrong.push(`${file} -> ${path}`);
    }
  }
  return wrong;
}

describe('imports', () => {
  it('never point upwards', () => {
    expect(arrowsUp(sources(), importsOf)).to.deep.equal([]);
  });

  it('stay in known layers', () => {
    const unknown = sources().filter((file) => layerOf(file) === -1);
    expect(unknown).to.deep.equal([]);
  });

  it('reach files, timers, clocks and random numbers only through host/', () => {
    const outside =
      /node:(fs|fs\/promises|net|timers|worker_threads|crypto)'|\b(setTimeout|setInterval|setImmediate|Math\.random|Date\.now|performance\.now)\b/;
    const found = sources().filter((file) => {
      const layer = file.split('/')[0];
      return !['host', 'cli'].includes(layer) && outside.test(readFileSync(join(SRC, file), 'utf8'));
    });
    expect(found).to.deep.equal([]);
  });

  it('are found to point upwards when they do', () => {
    const up = arrowsUp(['block/node.ts'], () => ['../jobs/job.js']);
    expect(up).to.deep.equal(['block/node.ts -> jobs/job.js']);
  });
});
