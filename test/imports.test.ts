// The house of DESIGN: each layer imports only from the ones below it. This test walks the imports of `src/`.

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** Lowest first: folders, and the files at the root of `src/`. A layer may import from itself and from the ones before it. */
const LAYERS = [
  ...['util', 'schema', 'wire', 'host', 'block', 'drivers', 'jobs', 'exports', 'workspace'],
  ...['qmp', 'cli', 'library', 'sim', 'index'],
];
/** Each is a way in for somebody else. None knows of another one, but for the package's entry, which is the library's. */
const FACES = ['qmp', 'cli', 'library', 'sim', 'index'];

function sources(): string[] {
  return (readdirSync(SRC, { recursive: true }) as string[]).filter((name) => name.endsWith('.ts'));
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(SRC, file), 'utf8');
  return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => match[1]);
}

/** The layer of a path below `src/`, by its folder; of a file at the root, by its name. */
function layerOf(file: string): string {
  return file.split('/')[0].replace(/\.[jt]s$/, '');
}

function mayImport(from: string, to: string): boolean {
  if (FACES.includes(from) && FACES.includes(to)) return from === to || (from === 'index' && to === 'library');
  return LAYERS.indexOf(to) <= LAYERS.indexOf(from);
}

/** Every arrow that points up, as `from -> to`. */
export function arrowsUp(files: readonly string[], importsIn: (file: string) => string[]): string[] {
  const wrong: string[] = [];
  for (const file of files) {
    for (const target of importsIn(file)) {
      if (!target.startsWith('.')) continue;
      const path = normalize(join(dirname(file), target));
      if (!mayImport(layerOf(file), layerOf(path))) wrong.push(`${file} -> ${path}`);
    }
  }
  return wrong;
}

describe('imports', () => {
  it('never point upwards', () => {
    expect(arrowsUp(sources(), importsOf)).to.deep.equal([]);
  });

  it('stay in known layers', () => {
    const unknown = sources().filter((file) => !LAYERS.includes(layerOf(file)));
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
    expect(arrowsUp(['block/graph.ts'], () => ['../jobs/job.js'])).to.deep.equal(['block/graph.ts -> jobs/job.js']);
    expect(arrowsUp(['jobs/job.ts'], () => ['../index.js'])).to.deep.equal(['jobs/job.ts -> index.js']);
    expect(arrowsUp(['sim.ts'], () => ['./library/image.js'])).to.deep.equal(['sim.ts -> library/image.js']);
    expect(arrowsUp(['index.ts'], () => ['./library/image.js', './host/host.js'])).to.deep.equal([]);
  });
});
