// Writes what `query-qmp-schema` answers: every command and event, and the types that they reach, as `SchemaInfo` (QAPI's introspect.json).
// Names of types are numbers, as in QEMU: a client goes by the shape of a type, never by its name.

import { allMembers, BUILT_IN, type Definition, type Member, type TypeReference } from './model.js';

type Definitions = ReadonlyMap<string, Definition>;
type Info = Record<string, unknown>;

const HEAD = '// Generated from src/schema/*.qapi by `npm run schema`. Do not edit.\n';

/** The kind of JSON value that each built-in type is; all integers are one type. */
const JSON_TYPES: Readonly<Record<string, string>> = {
  str: 'string',
  number: 'number',
  bool: 'boolean',
  null: 'null',
  any: 'value',
};

/** Text of `introspection.ts`. */
export function writeIntrospection(definitions: Definitions): string {
  const infos = new Introspection(definitions).all();
  const lines = infos.map((info) => `  ${JSON.stringify(info)},\n`).join('');
  return [
    HEAD,
    "import type { ConditionalInfo } from '../introspect.js';\n",
    `/** What \`query-qmp-schema\` answers, with what only older QMPs have. */\nexport const SCHEMA = [\n${lines}] as unknown as ConditionalInfo[];\n`,
  ].join('\n');
}

class Introspection {
  readonly #definitions: Definitions;
  readonly #names = new Map<string, string>();
  readonly #types: Info[] = [];

  constructor(definitions: Definitions) {
    this.#definitions = definitions;
  }

  all(): Info[] {
    const entities: Info[] = [];
    for (const definition of this.#definitions.values()) {
      if (definition.kind === 'command') {
        const { name, features, allowOob, returns, condition, formOf } = definition;
        // One command has one type of arguments there: that of today.
        if (formOf !== undefined) continue;
        entities.push({
          name,
          ...(condition !== undefined && { if: condition }),
          ...(features.length > 0 && { features }),
          'arg-type': this.#argument(definition),
          'ret-type': returns === undefined ? this.#nothing() : this.#use(returns),
          'meta-type': 'command',
          ...(allowOob && { 'allow-oob': true }),
        });
      } else if (definition.kind === 'event') {
        entities.push({ name: definition.name, 'arg-type': this.#argument(definition), 'meta-type': 'event' });
      }
    }
    return [...entities, ...this.#types];
  }

  #argument(definition: Definition & { kind: 'command' | 'event' }): string {
    if (definition.argument !== undefined) return this.#use(definition.argument);
    if (definition.members.length === 0) return this.#nothing();
    return this.#define(`arguments of ${definition.name}`, (name) => this.#object(name, definition.members));
  }

  /** The type of what has no members. */
  #nothing(): string {
    return this.#define('nothing', (name) => this.#object(name, []));
  }

  #use(type: TypeReference): string {
    if (typeof type !== 'string') {
      const element = this.#use(type[0]);
      const name = `[${element}]`;
      return this.#define(name, () => ({ name, 'element-type': element, 'meta-type': 'array' }), name);
    }
    if (Object.hasOwn(BUILT_IN, type)) {
      const json = JSON_TYPES[type] ?? 'int';
      const name = JSON_TYPES[type] === undefined ? 'int' : type;
      return this.#define(name, () => ({ name, 'json-type': json, 'meta-type': 'builtin' }), name);
    }
    return this.#define(type, (name) => this.#type(name, this.#definitions.get(type)!));
  }

  /** Adds a type the first time that it is named. It has a number before its members are looked at: they may come back to it. */
  #define(key: string, make: (name: string) => Info, name = String(this.#names.size)): string {
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    this.#names.set(key, name);
    this.#types.push(make(name));
    return name;
  }

  #type(name: string, definition: Definition): Info {
    switch (definition.kind) {
      case 'enum': {
        const values = definition.values.map((value) => value.name);
        return { name, members: values.map((value) => ({ name: value })), 'meta-type': 'enum', values };
      }
      case 'alternate':
        return {
          name,
          members: definition.members.map(({ type }) => ({ type: this.#use(type) })),
          'meta-type': 'alternate',
        };
      case 'union': {
        const info = this.#object(name, allMembers(definition, this.#definitions));
        const tag = allMembers(definition, this.#definitions).find((member) => member.name === definition.tag)!;
        const values = this.#definitions.get(tag.type as string);
        const branches = new Map(definition.branches.map(({ value, type }) => [value, type]));
        const variants = (values?.kind === 'enum' ? values.values : []).map(({ name: value }) => {
          const branch = branches.get(value);
          return { case: value, type: branch === undefined ? this.#nothing() : this.#use(branch) };
        });
        return { ...info, tag: definition.tag, variants };
      }
      default:
        return this.#object(name, allMembers(definition, this.#definitions));
    }
  }

  #object(name: string, members: readonly Member[]): Info {
    const infos = members.map(({ name: member, type, optional, features, condition }) => ({
      name: member,
      ...(condition !== undefined && { if: condition }),
      ...(optional && { default: null }),
      ...(features.length > 0 && { features }),
      type: this.#use(type),
    }));
    return { name, members: infos, 'meta-type': 'object' };
  }
}
