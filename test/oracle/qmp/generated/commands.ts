// Commands with generated arguments: first ones that fit the schema, then, in most of them, one mistake.
//
//   schema of both --> arguments that fit --+--> as they are: does it mean something, and what is refused first?
//                                           +--> one mistake somewhere: a member is missing, unknown, of another type, out of range

import type { Random } from '../../../../src/host/sim/random.js';
import type { Json } from '../../../support/qmp.js';
import type { Shared, SharedMember, SharedSchema } from './shared-schema.js';

/** Names of what the scripts' daemons have, and of what they do not have. */
const NODES = ['top', 'mid', 'base', 'raw', 'null', 'top-file', 'nobody', ''];
const NAMES: Readonly<Record<string, readonly string[]>> = {
  'job-id': ['j0', 'j1', '0bad', ''],
  id: ['exp', 'obj', 'j0', 'none', '0bad'],
  filename: ['DIR/raw.raw', 'DIR/new.raw', 'DIR/none.raw', 'DIR/top.qcow2', ''],
  file: ['top-file', 'raw', 'nobody', 'DIR/new.qcow2'],
  'snapshot-file': ['DIR/snap.qcow2', 'DIR/none/snap.qcow2'],
  'backing-file': ['DIR/base.qcow2', 'text', ''],
  format: ['qcow2', 'raw', 'nonsense'],
  name: ['b0', 'b1', 'none', ''],
  bitmap: ['b0', 'b1', 'none'],
  target: ['raw', 'base', 'nobody', 'DIR/target.raw', 'null'],
  'filter-node-name': ['filter', 'top', '0bad'],
  path: ['DIR/nbd.sock', 'DIR/none/nbd.sock'],
  host: ['127.0.0.1'],
  port: ['0', 'nonsense'],
  dir: ['DIR', 'DIR/none'],
};
const NODE_NAMES = [
  'device',
  'node-name',
  'node',
  'overlay',
  'backing',
  'base-node',
  'top-node',
  'image-node-name',
  'replaces',
  'snapshot-node-name',
  'base',
  'top',
  'bottom',
  'bitmaps',
];
/** Sizes and numbers, with those at the edges of what is taken. */
const NUMBERS = [0, 1, 2, 3, 511, 512, 4096, 65536, 1 << 20, 4 << 20, -1, -512, 2 ** 31, 2 ** 32, 2 ** 40];
const WRONG: readonly unknown[] = [
  null,
  true,
  false,
  7,
  -7,
  1.5,
  'text',
  '',
  [],
  ['text'],
  {},
  { bogus: 1 },
  2 ** 53 - 1,
  '12',
];
const DEEPEST = 5;

export class CommandGenerator {
  readonly #schema: SharedSchema;
  readonly #random: Random;
  readonly #names: string[];

  constructor(schema: SharedSchema, random: Random) {
    this.#schema = schema;
    this.#random = random;
    this.#names = [...schema.commands.keys()];
  }

  next(): { execute: string; arguments?: Json } {
    const execute = this.#pick(this.#names);
    const type = this.#schema.commands.get(execute) as Shared | null;
    const words = (type === null ? {} : this.#value(type, '', 0)) as Json;
    if (this.#random.fraction() < 0.5) this.#spoil(words);
    return Object.keys(words).length === 0 ? { execute } : { execute, arguments: words };
  }

  #pick<T>(from: readonly T[]): T {
    return from[this.#random.below(from.length)];
  }

  #value(type: Shared, name: string, depth: number): unknown {
    switch (type.kind) {
      case 'enum':
        return this.#pick(type.values);
      case 'builtin':
        return this.#builtin(type.name, name);
      case 'list': {
        const count = depth > DEEPEST ? 0 : this.#pick([0, 1, 1, 1, 2]);
        return Array.from({ length: count }, () => this.#value(type.item, name, depth + 1));
      }
      case 'alternate': {
        const flat = type.choices.filter(({ kind }) => kind !== 'object');
        const choices = depth > DEEPEST && flat.length > 0 ? flat : type.choices;
        return this.#value(this.#pick(choices), name, depth + 1);
      }
      case 'object': {
        const made: Json = {};
        this.#fill(made, type.members, depth);
        if (type.tag !== undefined) {
          const value = this.#pick([...type.branches.keys()]);
          made[type.tag] = value;
          this.#fill(made, type.branches.get(value) as SharedMember[], depth);
        }
        return made;
      }
    }
  }

  #fill(made: Json, members: readonly SharedMember[], depth: number): void {
    const often = Math.min(0.5, 3 / members.length);
    for (const { name, optional, type } of members) {
      if (optional && (depth > DEEPEST || this.#random.fraction() > often)) continue;
      made[name] = this.#value(type(), name, depth + 1);
    }
  }

  #builtin(type: string, name: string): unknown {
    if (type === 'str') {
      const known = NODE_NAMES.includes(name) ? NODES : NAMES[name];
      return this.#pick(known ?? ['text', '']);
    }
    if (type === 'bool') return this.#random.fraction() < 0.5;
    if (type === 'null') return null;
    if (type === 'any') return structuredClone(this.#pick(WRONG));
    const number = this.#pick(NUMBERS);
    return type.startsWith('u') || type === 'size' ? Math.abs(number) : number;
  }

  /** Puts one mistake into one of the objects of `words`. */
  #spoil(words: Json): void {
    const objects: Json[] = [];
    const collect = (value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      if (!Array.isArray(value)) objects.push(value as Json);
      for (const inner of Object.values(value)) collect(inner);
    };
    collect(words);
    const object = this.#random.fraction() < 0.5 ? words : this.#pick(objects);
    const members = Object.keys(object);
    const member = members.length === 0 ? 'bogus' : this.#pick(members);
    switch (this.#random.below(4)) {
      case 0:
        delete object[member];
        break;
      case 1:
        object[this.#pick(['bogus', 'node-name', 'x'])] = structuredClone(this.#pick(WRONG));
        break;
      default:
        object[member] = structuredClone(this.#pick(WRONG));
    }
  }
}
