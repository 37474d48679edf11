// What two monitors have in common, by what each tells of its schema: commands, members of their arguments, values of enumerations.
// Only this is generated, so that each difference of two answers is one of behaviour and not of the version.

import { COMMANDS, TYPES } from '../../../../src/schema/generated/table.js';
import type { TypeEntry, TypeReference } from '../../../../src/schema/table.js';

/** An entry of `query-qmp-schema`, as far as it is used. */
export interface Told {
  name: string;
  'meta-type': string;
  'arg-type'?: string;
  'element-type'?: string;
  'json-type'?: string;
  tag?: string;
  members?: { name?: string; type: string }[];
  variants?: { case: string; type: string }[];
}

/** A type that both have. */
export type Shared =
  | { kind: 'enum'; values: string[] }
  | { kind: 'builtin'; name: string }
  | { kind: 'list'; item: Shared }
  | { kind: 'object'; members: SharedMember[]; tag?: string; branches: Map<string, SharedMember[]> }
  | { kind: 'alternate'; choices: Shared[] };

export interface SharedMember {
  name: string;
  optional: boolean;
  type: () => Shared;
}

const KINDS: Readonly<Record<string, string>> = { array: 'array', object: 'object', enum: 'string' };

export class SharedSchema {
  readonly #told: Map<string, Told>;
  /** Argument types of the commands that both have; null where there are no arguments. */
  readonly commands = new Map<string, Shared | null>();

  constructor(told: readonly Told[], without: readonly string[]) {
    this.#told = new Map(told.map((entry) => [entry.name, entry]));
    for (const [name, type] of Object.entries(COMMANDS)) {
      const theirs = this.#told.get(name);
      if (theirs?.['meta-type'] !== 'command' || without.includes(name)) continue;
      this.commands.set(name, type === null ? null : this.#shared(type, theirs['arg-type'] as string));
    }
  }

  #entry(name: string): Told {
    const entry = this.#told.get(name);
    if (entry === undefined) throw new Error(`the schema does not tell of ${name}`);
    return entry;
  }

  #shared(type: TypeReference, theirName: string): Shared {
    const theirs = this.#entry(theirName);
    if (typeof type !== 'string') {
      return { kind: 'list', item: this.#shared(type[0], theirs['element-type'] as string) };
    }
    const ours = (TYPES as Readonly<Record<string, TypeEntry>>)[type];
    if (ours === undefined) return { kind: 'builtin', name: type };
    switch (ours.kind) {
      case 'enum': {
        const values = new Set(theirs.members?.map(({ name }) => name));
        return { kind: 'enum', values: ours.values.filter((value) => values.has(value)) };
      }
      case 'alternate': {
        const known = new Map((theirs.members ?? []).map((member) => [this.#jsonKind(member.type), member.type]));
        const both = Object.entries(ours.choices).filter(([kind]) => known.has(kind));
        return {
          kind: 'alternate',
          choices: both.map(([kind, choice]) => this.#shared(choice, known.get(kind) as string)),
        };
      }
      case 'struct':
        return { kind: 'object', members: this.#members(type, theirName), branches: new Map() };
      case 'union': {
        const branches = new Map<string, SharedMember[]>();
        for (const { case: value, type: branch } of theirs.variants ?? []) {
          const known = value in ours.branches || this.#values(ours.members[ours.tag].type).includes(value);
          const own = ours.branches[value];
          if (known) branches.set(value, own === undefined ? [] : this.#members(own, branch));
        }
        return { kind: 'object', members: this.#members(type, theirName), tag: ours.tag, branches };
      }
    }
  }

  #values(type: TypeReference): readonly string[] {
    const entry = (TYPES as Readonly<Record<string, TypeEntry>>)[type as string];
    return entry?.kind === 'enum' ? entry.values : [];
  }

  #members(type: string, theirName: string): SharedMember[] {
    const ours = (TYPES as Readonly<Record<string, TypeEntry>>)[type];
    if (ours.kind !== 'struct' && ours.kind !== 'union') throw new Error(`${type} has no members`);
    const theirs = new Map(this.#entry(theirName).members?.map((member) => [member.name, member.type]));
    return Object.entries(ours.members)
      .filter(([name]) => theirs.has(name))
      .map(([name, member]) => {
        let shared: Shared | null = null;
        const resolve = (): Shared => {
          shared ??= this.#shared(member.type, theirs.get(name) as string);
          return shared;
        };
        return { name, optional: member.optional === true, type: resolve };
      });
  }

  #jsonKind(name: string): string {
    const { 'meta-type': meta, 'json-type': json } = this.#entry(name);
    if (meta !== 'builtin') return KINDS[meta] ?? meta;
    return json === 'int' ? 'number' : (json as string);
  }
}
