// The three generations of QMP: each file of `generations/` is a script for one of them, with what is answered and which events come.
//
//   {"execute": ..., "arguments": ..., "return" or "error": ...}    a command, and its answer: these members, and perhaps others
//   {"event": ..., "data": ...}                                     one that comes after the last one that was awaited
//
// `DIR` stands for the folder of the images: top.qcow2 over mid.qcow2 over base.qcow2, of 64 MiB each; the lower two are full of data; one.qcow2 and
// two.qcow2, which are empty, and three, which is raw. A list
// of strings in `return` names entries that are in the list, by their `name`.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { parseDrive } from '../../src/cli/daemon/drive-options.js';
import { openRealHost } from '../../src/host/real/index.js';
import { Workspace } from '../../src/library/workspace.js';
import type { CompatGeneration } from '../../src/schema/generated/types.js';
import { Bench, type Client } from './support.js';

const FOLDER = new URL('generations/', import.meta.url);
const SIZE = 64 << 20;
const STEP = 1 << 20;

type Step = { arguments?: object } & (
  | { execute: string; return: unknown }
  | { execute: string; error: object }
  | { event: string; data: object }
);

interface Script {
  compat: CompatGeneration[];
  steps: Step[];
}

describe('generations of QMP', () => {
  let bench: Bench;

  afterEach(() => bench.close());

  for (const file of readdirSync(fileURLToPath(FOLDER))) {
    const text = readFileSync(new URL(file, FOLDER), 'utf8');
    it(`answers each command of ${file.replace('.json', '')} as that generation did`, async () => {
      const { compat } = JSON.parse(text) as Script;
      bench = new Bench(undefined, new Set(compat));
      await makeChain(bench);
      await bench.context.drives.add(parseDrive(`id=d0,node-name=n0,file=${bench.path('top.qcow2')}`));
      const client = await bench.client();
      const { steps } = JSON.parse(text.replaceAll('DIR', bench.folder)) as Script;
      await replay(client, steps);
    });
  }
});

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
