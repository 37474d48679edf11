// The bundle of the command line: a module runs when something of it is used, and the schema's types are read one by one.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { transformSync } from 'esbuild';
import { asJson, late } from '../../scripts/late-modules.js';
import { EVENTS, OUT_OF_BAND, TYPES } from '../../src/schema/generated/table.js';

type Modules = Record<string, string>;

/** Runs `./main.js` of `sources` as the bundle does, and returns the names of the modules that have run, in order, and what main exports. */
function runLate(sources: Modules): { ran: string[]; exported: Record<string, unknown> } {
  const ran: string[] = [];
  const known = new Map<string, { exports: Record<string, unknown> }>();
  const require = (name: string): Record<string, unknown> => {
    const before = known.get(name);
    if (before !== undefined) return before.exports;
    ran.push(name);
    const module = { exports: {} };
    known.set(name, module);
    const { code } = transformSync(sources[name], {
      loader: 'ts',
      format: 'cjs',
      target: 'node20',
      platform: 'neutral',
    });
    new Function('require', 'module', late(code, name))(require, module);
    return module.exports;
  };
  return { ran, exported: require('./main.js') };
}

describe('modules that run late', () => {
  it('run when something of them is used, in whatever way it is written', () => {
    const { ran, exported } = runLate({
      './main.js': `
        import { twice, LIMIT, type Unused } from './a.js';
        import { PARTS } from './b.js';
        import { Base } from './base.js';
        export class Derived extends Base {}
        export const use = (): unknown => ({ ...PARTS, limit: twice(LIMIT) });`,
      './a.js':
        'export const LIMIT = 3; export async function later() {} export function twice(n: number) { return 2 * n; }',
      './b.js': 'export const PARTS = { b: 1 };',
      './base.js': 'export class Base {}',
    });
    expect(ran).to.deep.equal(['./main.js', './base.js']);
    expect((exported['use'] as () => unknown)()).to.deep.equal({ b: 1, limit: 6 });
    expect(ran).to.deep.equal(['./main.js', './base.js', './b.js', './a.js']);
  });

  it('show a variable as it is now, and what they pass on', () => {
    const { exported } = runLate({
      './main.js': `
        import { count, increase } from './counter.js';
        export { increase } from './counter.js';
        export const read = (): number => count;`,
      './counter.js': 'export let count = 0; export function increase() { count++; }',
    });
    const { increase, read } = exported as { increase: () => void; read: () => number };
    expect(read()).to.equal(0);
    increase();
    expect(read()).to.equal(1);
  });

  it('may need each other', () => {
    const { exported } = runLate({
      './main.js': "import { b } from './b.js'; export const a = 1; export const sum = (): number => b();",
      './b.js': "import { a } from './main.js'; export function b() { return a + 1; }",
    });
    expect((exported['sum'] as () => number)()).to.equal(2);
  });

  for (const line of ["export * from './a.js';", "import * as a from './a.js'; export const all = a;"]) {
    it(`are refused where the bundle does not know the way: ${line}`, () => {
      expect(() => runLate({ './main.js': line, './a.js': 'export const a = 1;' })).to.throw('./main.js: ');
    });
  }
});

describe('constants in the bundle', () => {
  const source = readFileSync(new URL('../../src/schema/generated/table.ts', import.meta.url), 'utf8');
  const { code } = transformSync(source, { loader: 'ts', format: 'cjs' });
  const module = { exports: {} as Record<string, unknown> };
  new Function('module', asJson(code))(module);

  it('are what the module exports, member by member and as a whole', () => {
    const types = module.exports['TYPES'] as typeof TYPES;
    expect(types.JobStatus).to.deep.equal(TYPES.JobStatus);
    expect(types.JobStatus).to.equal(types.JobStatus);
    expect(Object.hasOwn(types, 'JobStatu')).to.equal(false);
    expect('toString' in types).to.equal(false);
    expect(JSON.stringify(types)).to.equal(JSON.stringify(TYPES));
    expect(Object.keys(types)).to.deep.equal(Object.keys(TYPES));
    expect(module.exports['EVENTS']).to.deep.equal(EVENTS);
    expect(module.exports['OUT_OF_BAND']).to.deep.equal(OUT_OF_BAND);
  });
});
