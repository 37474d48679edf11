// Turns the expressions of schema files into definitions and checks them: every name is known, every member
// documented, every discriminator an enum, every alternate decidable by the kind of value alone.

import { type Expression, readExpressions, SchemaError, type SchemaValue } from './lexer.js';

/** A name of a type, or a list of one. */
export type TypeReference = string | [string];

export interface Member {
  name: string;
  type: TypeReference;
  optional: boolean;
  features: string[];
  /** The older QMP (`CompatGeneration`) that has it; undefined: it is always there. */
  condition?: string;
  text: string;
}

interface Common {
  name: string;
  text: string;
}
export type Definition = Common &
  (
    | { kind: 'enum'; values: { name: string; text: string }[] }
    | { kind: 'struct'; base?: string; members: Member[] }
    | {
        kind: 'union';
        base?: string;
        members: Member[];
        tag: string;
        branches: { value: string; type: string }[];
        /** Another union, whose branches these are. */
        branchesOf?: string;
      }
    | { kind: 'alternate'; members: Member[] }
    | {
        kind: 'command';
        members: Member[];
        argument?: string;
        returns?: TypeReference;
        features: string[];
        /** The older QMP (`CompatGeneration`) that has it; undefined: it is always there. */
        condition?: string;
        /** The command that it is an older form of: it is called by that one's name. */
        formOf?: string;
        /** It may be carried out beside the command that is under way (`exec-oob`). */
        allowOob: boolean;
      }
    | { kind: 'event'; members: Member[]; argument?: string }
  );

/** Types of the language itself, and what each is in JSON. */
export const BUILT_IN: Readonly<Record<string, 'string' | 'number' | 'boolean' | 'null' | 'unknown'>> = {
  str: 'string',
  int: 'number',
  number: 'number',
  int8: 'number',
  int16: 'number',
  int32: 'number',
  int64: 'number',
  uint8: 'number',
  uint16: 'number',
  uint32: 'number',
  uint64: 'number',
  size: 'number',
  bool: 'boolean',
  null: 'null',
  any: 'unknown',
};

/** Reads `entry` and what it includes; `load` gives the text of a file. Throws `SchemaError`. */
export function readSchema(entry: string, load: (file: string) => string): Map<string, Definition> {
  const definitions = new Map<string, Definition>();
  const seen = new Set<string>();
  const places = new Map<string, { file: string; line: number }>();

  const readFile = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const expression of readExpressions(file, load(file))) {
      const included = expression.value['include'];
      if (typeof included === 'string') {
        readFile(included);
        continue;
      }
      const definition = define(file, expression);
      if (definitions.has(definition.name) || Object.hasOwn(BUILT_IN, definition.name)) {
        throw new SchemaError(file, expression.line, `'${definition.name}' is defined twice`);
      }
      definitions.set(definition.name, definition);
      places.set(definition.name, { file, line: expression.line });
    }
  };
  readFile(entry);

  for (const definition of definitions.values()) {
    if (definition.kind !== 'union' || definition.branchesOf === undefined) continue;
    const other = definitions.get(definition.branchesOf);
    if (other?.kind === 'union') definition.branches = other.branches;
  }
  for (const definition of definitions.values()) {
    const place = places.get(definition.name)!;
    const problem = findProblem(definition, definitions);
    if (problem !== undefined) throw new SchemaError(place.file, place.line, `'${definition.name}': ${problem}`);
  }
  return definitions;
}

/** Members of a struct or union with those of its bases first. */
export function allMembers(definition: Definition, definitions: ReadonlyMap<string, Definition>): Member[] {
  if (definition.kind === 'enum') return [];
  const base = 'base' in definition && definition.base !== undefined ? definitions.get(definition.base) : undefined;
  return base === undefined ? definition.members : [...allMembers(base, definitions), ...definition.members];
}

const KINDS = ['enum', 'struct', 'union', 'alternate', 'command', 'event'] as const;
const KEYS: Readonly<Record<(typeof KINDS)[number], readonly string[]>> = {
  enum: ['data'],
  struct: ['base', 'data'],
  union: ['base', 'discriminator', 'data'],
  alternate: ['data'],
  command: ['data', 'returns', 'boxed', 'features', 'allow-oob', 'if', 'form-of'],
  event: ['data', 'boxed'],
};

function define(file: string, { value, documentation, line }: Expression): Definition {
  const fail = (message: string): never => {
    throw new SchemaError(file, line, message);
  };
  const kind = KINDS.find((candidate) => Object.hasOwn(value, candidate));
  if (kind === undefined) return fail('expression defines nothing');
  const name = value[kind];
  if (typeof name !== 'string') return fail(`name of ${kind} must be a string`);
  for (const key of Object.keys(value)) {
    if (key !== kind && !KEYS[kind].includes(key)) fail(`'${name}': unknown key '${key}'`);
  }
  if (documentation === undefined || documentation.symbol !== name) return fail(`'${name}' is not documented`);
  const text = documentation.text;
  const undocumented = new Set(documentation.members.keys());
  const textOf = (member: string): string => {
    undocumented.delete(member);
    return documentation.members.get(member) ?? fail(`'${name}': member '${member}' is not documented`);
  };
  const definition = build(kind, name, text, value, textOf, fail);
  for (const member of undocumented) fail(`'${name}': documented member '${member}' does not exist`);
  return definition;
}

function build(
  kind: (typeof KINDS)[number],
  name: string,
  text: string,
  value: Expression['value'],
  textOf: (member: string) => string,
  fail: (message: string) => never,
): Definition {
  const members = (data: SchemaValue | undefined): Member[] => readMembers(name, data ?? {}, textOf, fail);
  const { data, base } = value;
  switch (kind) {
    case 'enum': {
      if (!Array.isArray(data)) return fail(`'${name}': data must be a list`);
      const values = data.map((item) =>
        typeof item === 'string' ? { name: item, text: textOf(item) } : fail(`'${name}': a value must be a string`),
      );
      return { kind, name, text, values };
    }
    case 'struct':
      return { kind, name, text, members: members(data), ...(typeof base === 'string' && { base }) };
    case 'union': {
      const tag = value['discriminator'];
      if (typeof tag !== 'string') return fail(`'${name}': a union needs a discriminator`);
      if (typeof data === 'string') {
        const own = typeof base === 'string' ? { base, members: [] } : { members: members(base) };
        return { kind, name, text, ...own, tag, branches: [], branchesOf: data };
      }
      const branches = Object.entries(isObject(data) ? data : fail(`'${name}': data must be an object`)).map(
        ([branch, type]) =>
          typeof type === 'string' ? { value: branch, type } : fail(`'${name}': a branch must name a struct`),
      );
      if (typeof base === 'string') return { kind, name, text, base, members: [], tag, branches };
      return { kind, name, text, members: members(base), tag, branches };
    }
    case 'alternate':
      return { kind, name, text, members: members(data) };
    case 'command':
    case 'event': {
      const shape = typeof data === 'string' ? { members: [], argument: data } : { members: members(data) };
      if (kind === 'event') return { kind, name, text, ...shape };
      const { returns, features = [], 'allow-oob': allowOob, if: condition, 'form-of': formOf } = value;
      return {
        kind,
        name,
        text,
        ...shape,
        ...(returns !== undefined && { returns: reference(name, returns, fail) }),
        features: featureNames(name, features, fail),
        ...(typeof condition === 'string' && { condition }),
        ...(typeof formOf === 'string' && { formOf }),
        allowOob: allowOob === true,
      };
    }
  }
}

function readMembers(
  owner: string,
  data: SchemaValue,
  textOf: (member: string) => string,
  fail: (message: string) => never,
): Member[] {
  if (!isObject(data)) return fail(`'${owner}': data must be an object`);
  return Object.entries(data).map(([key, value]) => {
    const name = key.replace(/^\*/, '');
    const long = isObject(value) ? value : undefined;
    const features = featureNames(`${owner}.${name}`, long?.['features'] ?? [], fail);
    const type = reference(owner, long === undefined ? value : long['type']!, fail);
    const condition = long?.['if'];
    return {
      ...{ name, type, optional: key.startsWith('*'), features },
      ...(typeof condition === 'string' && { condition }),
      text: textOf(name),
    };
  });
}

function featureNames(owner: string, value: SchemaValue, fail: (message: string) => never): string[] {
  if (Array.isArray(value) && value.every((feature) => typeof feature === 'string')) return value as string[];
  return fail(`'${owner}': features must be strings`);
}

function reference(owner: string, value: SchemaValue, fail: (message: string) => never): TypeReference {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.length === 1 && typeof value[0] === 'string') return [value[0]];
  return fail(`'${owner}': a type is a name or a list of one name`);
}

function isObject(value: SchemaValue | undefined): value is { [key: string]: SchemaValue } {
  return typeof value === 'object' && !Array.isArray(value);
}

/** What is wrong with a definition among all the others; undefined if nothing is. */
function findProblem(definition: Definition, definitions: ReadonlyMap<string, Definition>): string | undefined {
  if (definition.kind === 'enum') {
    const names = definition.values.map((value) => value.name);
    return new Set(names).size === names.length ? undefined : 'a value occurs twice';
  }
  for (const { name, type, condition } of definition.members) {
    const target = typeof type === 'string' ? type : type[0];
    if (!isData(target, definitions)) return `member '${name}' has unknown type '${target}'`;
    if (!isCondition(condition, definitions)) return `member '${name}' has unknown condition '${condition}'`;
  }
  switch (definition.kind) {
    case 'struct':
      return definition.base === undefined ? duplicate(definition, definitions) : baseProblem(definition, definitions);
    case 'union': {
      const problem = baseProblem(definition, definitions);
      if (problem !== undefined) return problem;
      const tag = allMembers(definition, definitions).find((member) => member.name === definition.tag);
      if (definition.branchesOf !== undefined && definitions.get(definition.branchesOf)?.kind !== 'union') {
        return `'${definition.branchesOf}' is no union`;
      }
      const values = typeof tag?.type === 'string' ? definitions.get(tag.type) : undefined;
      if (values?.kind !== 'enum' || tag?.optional) return `discriminator '${definition.tag}' is no mandatory enum`;
      for (const { value, type } of definition.branches) {
        if (!values.values.some((known) => known.name === value)) return `branch '${value}' is no value of the enum`;
        if (definitions.get(type)?.kind !== 'struct') return `branch '${value}' is no struct`;
      }
      return undefined;
    }
    case 'alternate': {
      const kinds = definition.members.map(({ type }) => jsonKind(type, definitions));
      return new Set(kinds).size === kinds.length ? undefined : 'two branches take the same kind of value';
    }
    default: {
      const { argument } = definition;
      if (argument !== undefined && !isData(argument, definitions)) return `unknown type '${argument}'`;
      if (definition.kind === 'event') return undefined;
      const { condition, formOf } = definition;
      if (!isCondition(condition, definitions)) return `unknown condition '${condition}'`;
      if (formOf !== undefined) {
        const newer = definitions.get(formOf);
        if (newer?.kind !== 'command' || newer.formOf !== undefined) return `it is a form of no command '${formOf}'`;
        if (condition === undefined) return 'an older form needs a condition';
        if (definition.argument === undefined && definition.members.length === 0) return 'an older form has arguments';
      }
      if (definition.returns === undefined) return undefined;
      const returned = typeof definition.returns === 'string' ? definition.returns : definition.returns[0];
      return isData(returned, definitions) ? undefined : `unknown type '${returned}'`;
    }
  }
}

/** The enum whose values conditions are. */
const CONDITIONS = 'CompatGeneration';

function isCondition(condition: string | undefined, definitions: ReadonlyMap<string, Definition>): boolean {
  if (condition === undefined) return true;
  const known = definitions.get(CONDITIONS);
  return known?.kind === 'enum' && known.values.some(({ name }) => name === condition);
}

function isData(name: string, definitions: ReadonlyMap<string, Definition>): boolean {
  const kind = definitions.get(name)?.kind;
  return Object.hasOwn(BUILT_IN, name) || (kind !== undefined && kind !== 'command' && kind !== 'event');
}

function baseProblem(
  definition: Definition & { kind: 'struct' | 'union' },
  definitions: ReadonlyMap<string, Definition>,
): string | undefined {
  const seen = new Set([definition.name]);
  for (let base = definition.base; base !== undefined; ) {
    const parent = definitions.get(base);
    if (parent?.kind !== 'struct') return `base '${base}' is no struct`;
    if (seen.has(base)) return `base '${base}' inherits from itself`;
    seen.add(base);
    base = parent.base;
  }
  return duplicate(definition, definitions);
}

function duplicate(definition: Definition, definitions: ReadonlyMap<string, Definition>): string | undefined {
  const seen = new Set<string>();
  for (const { name } of allMembers(definition, definitions)) {
    if (seen.has(name)) return `member '${name}' is there twice`;
    seen.add(name);
  }
  return undefined;
}

/** Kind of JSON value that a type is. */
export function jsonKind(type: TypeReference, definitions: ReadonlyMap<string, Definition>): string {
  if (typeof type !== 'string') return 'array';
  const definition = definitions.get(type);
  if (definition === undefined) return BUILT_IN[type]!;
  return definition.kind === 'enum' ? 'string' : 'object';
}
