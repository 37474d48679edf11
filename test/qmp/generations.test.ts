// The three generations of QMP: each file of `generations/` is a script for one of them, with what is answered and which events come.
//
//   {"execute": ..., "arguments": ..., "return" or "error": ...}    a command, and its answer: these members, and perhaps others
//   {"event": ..., "data": ...}                                     one that comes after the last one that was awaited
//
// `DIR` stands for the folder of the images: top.qcow2 over mid.qcow2 over base.qcow2, of 64 MiB each; the lower two are full of data; one.qcow2 and
// two.qcow2, which are empty, and three, which is raw. A list
// of strings in `return` names entries that are in the list, by their `name`.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseDrive } from '../../src/cli/daemon/drive-options.js';
import { openRealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { COMMANDS, CONDITIONS, FORMS, TYPES } from '../../src/schema/generated/table.js';
import type { CompatGeneration } from '../../src/schema/generated/types.js';
import type { TypeTable } from '../../src/schema/table.js';
import { Bench, type Client } from './support.js';

const FOLDER = new URL('generations/', import.meta.url);
const SIZE = 64 << 20;
const STEP = 1 << 20;

/** `alone`: not beside other QMPs. */
type Step = { arguments?: object; alone?: true } & (
  | { execute: string; return: unknown }
  | { execute: string; error: object }
  | { event: string; data: object }
);

interface Script {
  compat: CompatGeneration[];
  steps: Step[];
}

const textOf = (name: string): string => readFileSync(new URL(`${name}.json`, FOLDER), 'utf8');

describe('generations of QMP', () => {
  let bench: Bench;

  afterEach(() => bench.close());

  async function replayed(name: string, compat: readonly CompatGeneration[], alone: boolean): Promise<void> {
    bench = new Bench(undefined, new Set(compat));
    await makeChain(bench);
    await bench.context.drives.add(parseDrive(`id=d0,node-name=n0,file=${bench.path('top.qcow2')}`));
    const client = await bench.client();
    const { steps } = JSON.parse(textOf(name).replaceAll('DIR', bench.folder)) as Script;
    await replay(client, alone ? steps : steps.filter((step) => !step.alone));
  }

  for (const name of ['first-names', '2.1', 'today']) {
    it(`answers each command of ${name} as that generation did`, async () => {
      await replayed(name, (JSON.parse(textOf(name)) as Script).compat, true);
    });
  }

  it("answers today's the same beside both others", () => replayed('today', TYPES.CompatGeneration.values, false));

  it('answers those of each older one the same beside the other', async () => {
    await replayed('first-names', TYPES.CompatGeneration.values, false);
    await bench.close();
    await replayed('2.1', TYPES.CompatGeneration.values, false);
  });
});

/** What only one of the older QMPs has: each command and form, the name that it is called by, and the type of its arguments. */
function* olderCalls(generation: string): Iterable<{ call: string; name: string; type: string }> {
  for (const [call, condition] of Object.entries(CONDITIONS)) {
    if (condition !== generation) continue;
    const form = Object.entries(FORMS).find(([, forms]) => call in forms);
    const type = form === undefined ? Reflect.get(COMMANDS, call) : Reflect.get(form[1], call);
    yield { call, name: form?.[0] ?? call, type: String(type) };
  }
}

describe('the lists of the generations', () => {
  const types: TypeTable = TYPES;

  for (const generation of TYPES.CompatGeneration.values) {
    for (const { call, name, type } of olderCalls(generation)) {
      it(`has ${call}, each of its members, and an error`, () => {
        const calls = (JSON.parse(textOf(generation)) as Script).steps.flatMap((step) =>
          'execute' in step && step.execute === name ? [step] : [],
        );
        const given = new Set(calls.flatMap((step) => [...membersOf(step.arguments)]));
        const entry = types[type];
        expect(entry?.kind).to.equal('struct');
        if (entry?.kind !== 'struct') return;
        const inner = types[String(entry.members['options']?.type)];
        const all = [entry.members, ...(inner?.kind === 'union' ? [inner.members] : [])].flatMap(Object.keys);
        expect(given).to.include.all.keys(...all);
        expect(calls.some((step) => 'error' in step)).to.equal(true);
        // No image is encrypted.
        if (call !== 'block_passwd') expect(calls.some((step) => 'return' in step)).to.equal(true);
      });
    }
  }
});

/** Members, and those of `options`. */
function membersOf(args: object = {}): string[] {
  return [...Object.keys(args), ...('options' in args ? Object.keys(args.options as object) : [])];
}

async function makeChain({ folder }: Bench): Promise<void> {
  const workspace = new Workspace(openRealHost());
  let below: string | undefined;
  for (const name of ['base', 'mid', 'top']) {
    const path = `${folder}/${name}.qcow2`;
    const backing = below === undefined ? {} : { 'backing-file': below, 'backing-fmt': 'qcow2' as const };
    await workspace.create(path, { driver: 'qcow2', size: SIZE, ...backing });
    below = path;
    if (name === 'top') break;
    const image = await workspace.open(path);
    for (let at = 0; at < SIZE; at += STEP) await image.write(at, new Uint8Array(STEP).fill(name.length));
    await image.close();
  }
  for (const name of ['one', 'two']) await workspace.create(`${folder}/${name}.qcow2`, { driver: 'qcow2', size: STEP });
  writeFileSync(`${folder}/three`, Buffer.alloc(STEP, 3));
  await workspace.close();
}

async function replay(client: Client, steps: readonly Step[]): Promise<void> {
  let awaited = 0;
  for (const step of steps) {
    const text = JSON.stringify(step);
    if ('event' in step) awaited = await nextEvent(client, step.event, step.data, awaited);
    else {
      const answer = await client.ask(step.execute, step.arguments);
      const { id: _id, ...expected } = { ...answer };
      const wanted = 'return' in step ? { return: step.return } : { error: step.error };
      expect(contains(expected, wanted), `${text}\nwas answered ${JSON.stringify(answer)}`).to.equal(true);
    }
  }
}

/** Waits for an event of that name behind those that were awaited. Its data has these members. The result is where it stands. */
async function nextEvent(client: Client, name: string, data: object, from: number): Promise<number> {
  const found = await client.event(name, undefined, from);
  expect(contains(found.data, data), `${name} ${JSON.stringify(data)}\ncame as ${JSON.stringify(found)}`).to.equal(
    true,
  );
  return client.messages.indexOf(found) + 1;
}

/** Whether `value` has all that `wanted` has. */
function contains(value: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    if (!Array.isArray(value)) return false;
    if (wanted.length > 0 && wanted.every((item) => typeof item === 'string')) {
      return wanted.every((name) => value.some((item) => contains(item, { name })));
    }
    return value.length === wanted.length && wanted.every((item, i) => contains(value[i], item));
  }
  if (typeof wanted !== 'object' || wanted === null) return value === wanted;
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(wanted).every(([name, item]) => contains(Reflect.get(value, name), item));
}
