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
const FACES = ['cli', 'library', 'sim', 'index'];

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

/** Files below `folder` that import one another in a circle, types included: one list a circle. */
export function circles(files: readonly string[], importsIn: (file: string) => string[]): string[][] {
  const reachable = (start: string): Set<string> => {
    const seen = new Set<string>();
    const walk = (file: string): void => {
      for (const target of importsIn(file)) {
        const path = normalize(join(dirname(file), target)).replace(/\.js$/, '.ts');
        if (!target.startsWith('.') || !files.includes(path) || seen.has(path)) continue;
        seen.add(path);
        walk(path);
      }
    };
    walk(start);
    return seen;
  };
  const reach = new Map(files.map((file) => [file, reachable(file)]));
  const found: string[][] = [];
  for (const file of files) {
    if (!reach.get(file)?.has(file) || found.some((circle) => circle.includes(file))) continue;
    found.push(files.filter((other) => reach.get(file)?.has(other) && reach.get(other)?.has(file)));
  }
  return found;
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

  it('know in the layers up to qmp/ of no host but the interface: the simulated one takes the place of the real one', () => {
    const upTo = LAYERS.slice(0, LAYERS.indexOf('qmp') + 1).filter((layer) => layer !== 'host');
    const found = sources().filter(
      (file) => upTo.includes(layerOf(file)) && importsOf(file).some((name) => /host\/(real|sim)\//.test(name)),
    );
    expect(found).to.deep.equal([]);
  });

  it('are no calls where node brings the module: in compiled code from the cache, node has no loader for those', () => {
    const call = /await import\(['"]node:/;
    expect(sources().filter((file) => call.test(readFileSync(join(SRC, file), 'utf8')))).to.deep.equal([]);
  });

  it('of a format know of no other one, but of what formats share, and qcow2 of LUKS, which it embeds', () => {
    const shared = ['blocks', 'encryption'];
    const folderOf = (path: string): string | undefined => /^drivers\/formats\/([^/]+)\//.exec(path)?.[1];
    const found = sources().flatMap((file) => {
      const own = folderOf(file);
      if (own === undefined) return [];
      const others = importsOf(file).map((name) => folderOf(normalize(join(dirname(file), name))));
      const isAllowed = (other: string | undefined): boolean =>
        other === undefined || other === own || shared.includes(other) || (own === 'qcow2' && other === 'luks');
      return others.filter((other) => !isAllowed(other)).map((other) => `${file} -> ${other}`);
    });
    expect(found).to.deep.equal([]);
  });

  it('go in no circle inside block/, but the one that docs/architecture.md names', () => {
    const page = readFileSync(fileURLToPath(new URL('../docs/architecture.md', import.meta.url)), 'utf8');
    const section = page.split('\n## ').find((text) => text.startsWith('A circle'));
    const named = [...section!.matchAll(/`(block\/[a-z-]+(?:\.ts|\/))`/g)].map((match) => match[1]);
    const block = sources().filter((file) => file.startsWith('block/'));
    const found = circles(block, importsOf);
    expect(found.length).to.be.at.most(1);
    const others = (found[0] ?? []).filter((file) => !named.some((name) => file === name || file.startsWith(name)));
    expect(others).to.deep.equal([]);
  });

  it('go in no circle inside drivers/formats/qcow2/, but by the type of an image', () => {
    const folder = 'drivers/formats/qcow2/';
    const files = sources().filter((file) => file.startsWith(folder));
    const others = (file: string): string[] => importsOf(file).filter((name) => name !== './image.js');
    expect(circles(files, others)).to.deep.equal([]);
    const loads = /^import \{[^}]*\} from '\.\/image\.js'/m;
    const loading = files.filter((file) => loads.test(readFileSync(join(SRC, file), 'utf8')));
    expect(loading).to.deep.equal([`${folder}image-node.ts`]);
  });

  it('go in no circle anywhere else', () => {
    const files = sources().filter((file) => !/^(block|drivers\/formats\/qcow2)\//.test(file));
    expect(circles(files, importsOf)).to.deep.equal([]);
  });

  it('are found to go in a circle when they do', () => {
    const files = ['block/a.ts', 'block/b.ts', 'block/c.ts'];
    const next: Record<string, string> = { 'block/a.ts': './b.js', 'block/b.ts': './a.js', 'block/c.ts': './a.js' };
    expect(circles(files, (file) => [next[file]])).to.deep.equal([['block/a.ts', 'block/b.ts']]);
  });

  it('are found to point upwards when they do', () => {
    expect(arrowsUp(['block/graph.ts'], () => ['../jobs/job.js'])).to.deep.equal(['block/graph.ts -> jobs/job.js']);
    expect(arrowsUp(['jobs/job.ts'], () => ['../index.js'])).to.deep.equal(['jobs/job.ts -> index.js']);
    expect(arrowsUp(['sim.ts'], () => ['./library/image.js'])).to.deep.equal(['sim.ts -> library/image.js']);
    expect(arrowsUp(['index.ts'], () => ['./library/image.js', './host/host.js'])).to.deep.equal([]);
  });
});
