// Writes what the program needs of a schema: TypeScript types (QAPI's names kept, so that an object literal has the
// keys that go over the wire) and the table that the validator walks.

import { allMembers, BUILT_IN, type Definition, jsonKind, type Member, type TypeReference } from './model.js';

type Definitions = ReadonlyMap<string, Definition>;
type Command = Definition & { kind: 'command' };

const HEAD = '// Generated from src/schema/*.qapi by `npm run schema`. Do not edit.\n';

/** Text of `types.ts`. */
export function writeTypes(definitions: Definitions): string {
  const parts = [HEAD];
  for (const definition of definitions.values()) parts.push(typeOf(definition, definitions));

  const data = [...definitions.values()].filter(isNamedType).map((definition) => typeName(definition));
  const twice = data.find((name, i) => data.indexOf(name) !== i);
  if (twice !== undefined) throw new Error(`two types are called ${twice}`);
  parts.push(
    `/** Every type by its name. */\nexport interface QapiTypes {\n${data.map((name) => `  ${name}: ${name};\n`).join('')}}\n`,
  );
  const commands = [...definitions.values()].filter((definition) => definition.kind === 'command');
  const commandLine = (command: Command): string => {
    const returns = command.returns === undefined ? 'Record<string, never>' : reference(command.returns);
    return `  ${quoted(command.name)}: { arguments: ${argumentName(command) ?? 'Record<string, never>'}; returns: ${returns} };\n`;
  };
  const listed = (wanted: (command: Command) => boolean): string => commands.filter(wanted).map(commandLine).join('');
  parts.push(
    `/** Arguments and answer of each command. */\nexport interface QapiCommands {\n${listed(({ formOf }) => formOf === undefined)}}\n`,
    `/** The same of older forms of commands: each is called by the name of its command. */\nexport interface QapiForms {\n${listed(({ formOf }) => formOf !== undefined)}}\n`,
  );
  const events = [...definitions.values()].filter((definition) => definition.kind === 'event');
  const eventLines = events.map((event) => `  ${event.name}: ${argumentName(event) ?? 'Record<string, never>'};\n`);
  parts.push(`/** Data of each event. */\nexport interface QapiEvents {\n${eventLines.join('')}}\n`);
  return parts.join('\n');
}

/** Text of `table.ts`. */
export function writeTable(definitions: Definitions): string {
  const entries: string[] = [];
  for (const definition of definitions.values()) {
    if (isNamedType(definition)) entries.push(`  ${typeName(definition)}: ${tableEntry(definition, definitions)},\n`);
  }
  const list = (kind: 'command' | 'event'): string =>
    [...definitions.values()]
      .filter((definition) => definition.kind === kind && !('formOf' in definition))
      .map((definition) => `  ${quoted(definition.name)}: ${JSON.stringify(argumentName(definition) ?? null)},\n`)
      .join('');
  return [
    HEAD,
    "import type { TypeTable } from '../table.js';\nimport type { CompatGeneration, QapiForms, QapiTypes } from './types.js';\n",
    `/** What the validator walks: every type by its name. */\nexport const TYPES = {\n${entries.join('')}} as const satisfies TypeTable;\n`,
    `/** Type of the arguments of each command; null where there are none. */\nexport const COMMANDS = {\n${list('command')}} as const;\n`,
    `/** Commands that return something; all others return an empty object. */\nexport const RETURNING: ReadonlySet<string> = new Set(${JSON.stringify(returning(definitions))});\n`,
    `/** Commands that only older QMPs have: which one. */\nexport const CONDITIONS: Readonly<Record<string, CompatGeneration>> = ${JSON.stringify(conditions(definitions))};\n`,
    `/** Older forms of commands, by the name that they are called by, and the type of the arguments of each. */\nexport const FORMS: Readonly<Record<string, { readonly [K in keyof QapiForms]?: keyof QapiTypes }>> = ${JSON.stringify(forms(definitions))};\n`,
    `/** Commands that may overtake others. */\nexport const OUT_OF_BAND: ReadonlySet<string> = new Set(${JSON.stringify(outOfBand(definitions))});\n`,
    `/** Type of the data of each event. */\nexport const EVENTS = {\n${list('event')}} as const;\n`,
  ].join('\n');
}

function returning(definitions: Definitions): string[] {
  return [...definitions.values()].flatMap((one) =>
    one.kind === 'command' && one.returns !== undefined ? [one.name] : [],
  );
}

function conditions(definitions: Definitions): Record<string, string> {
  const found: Record<string, string> = {};
  for (const one of definitions.values()) {
    if (one.kind === 'command' && one.condition !== undefined) found[one.name] = one.condition;
  }
  return found;
}

function forms(definitions: Definitions): Record<string, Record<string, string>> {
  const found: Record<string, Record<string, string>> = {};
  for (const one of definitions.values()) {
    if (one.kind !== 'command' || one.formOf === undefined) continue;
    found[one.formOf] = { ...found[one.formOf], [one.name]: argumentName(one)! };
  }
  return found;
}

function outOfBand(definitions: Definitions): string[] {
  return [...definitions.values()].flatMap((one) => (one.kind === 'command' && one.allowOob ? [one.name] : []));
}

/** Types that exist by name: commands and events only where their members are written in place. */
function isNamedType(definition: Definition): boolean {
  if (definition.kind !== 'command' && definition.kind !== 'event') return true;
  return definition.argument === undefined && definition.members.length > 0;
}

/** `block-stream` has BlockStreamArguments, `block_stream` of `first-names` BlockStreamFirstNamesArguments, `JOB_STATUS_CHANGE` JobStatusChangeEvent. */
function typeName(definition: Definition): string {
  if (definition.kind !== 'command' && definition.kind !== 'event') return definition.name;
  const { formOf, condition = '' } = { formOf: undefined, condition: undefined, ...definition };
  const parts = `${formOf ?? definition.name}-${condition.replace('.', '')}`
    .split(/[-_]/)
    .filter((part) => part !== '');
  const words = parts.map((word) => word[0]!.toUpperCase() + word.slice(1).toLowerCase());
  return `${words.join('')}${definition.kind === 'command' ? 'Arguments' : 'Event'}`;
}

function argumentName(definition: Definition): string | undefined {
  if (isNamedType(definition)) return typeName(definition);
  return definition.kind === 'command' || definition.kind === 'event' ? definition.argument : undefined;
}

function typeOf(definition: Definition, definitions: Definitions): string {
  const comment = doc(definition.text, '');
  const name = typeName(definition);
  switch (definition.kind) {
    case 'enum': {
      const values = definition.values.map((value) => `\n${doc(value.text, '  ')}  | '${value.name}'`).join('');
      return `${comment}export type ${name} =${values};\n`;
    }
    case 'struct': {
      const base = definition.base === undefined ? '' : ` extends ${definition.base}`;
      return `${comment}export interface ${name}${base} {\n${memberLines(definition.members)}}\n`;
    }
    case 'alternate': {
      const kinds = definition.members
        .map((member) => `\n${doc(member.text, '  ')}  | ${reference(member.type)}`)
        .join('');
      return `${comment}export type ${name} =${kinds};\n`;
    }
    case 'union': {
      const base = definition.base ?? `${name}Base`;
      const tag = allMembers(definition, definitions).find((member) => member.name === definition.tag)!;
      const values = definitions.get(tag.type as string);
      if (values?.kind !== 'enum') throw new Error(`${name}: discriminator without values`);
      const branches = values.values.map(({ name: value }) => {
        const branch = definition.branches.find((candidate) => candidate.value === value);
        return `\n  | (${base} & { ${quoted(definition.tag)}: '${value}' }${branch === undefined ? '' : ` & ${branch.type}`})`;
      });
      const own =
        definition.base === undefined
          ? `/** What all of {@link ${name}} have. */\nexport interface ${base} {\n${memberLines(definition.members)}}\n\n`
          : '';
      return `${own}${comment}export type ${name} =${branches.join('')};\n`;
    }
    default:
      if (!isNamedType(definition)) return '';
      return `${comment}export interface ${name} {\n${memberLines(definition.members)}}\n`;
  }
}

function memberLines(members: readonly Member[]): string {
  return members
    .map(({ name, type, optional, features, condition, text }) => {
      const note = features.includes('deprecated') ? `${text}\n@deprecated` : text;
      return `${doc(note, '  ')}  ${quoted(name)}${optional || condition !== undefined ? '?' : ''}: ${reference(type)};\n`;
    })
    .join('');
}

function tableEntry(definition: Definition, definitions: Definitions): string {
  switch (definition.kind) {
    case 'enum':
      return `{ kind: 'enum', values: [${definition.values.map((value) => `'${value.name}'`).join(', ')}] }`;
    case 'alternate': {
      const choices = definition.members.map(({ type }) => `${jsonKind(type, definitions)}: ${tableReference(type)}`);
      return `{ kind: 'alternate', choices: { ${choices.join(', ')} } }`;
    }
    case 'union': {
      const branches = definition.branches.map(({ value, type }) => `${quoted(value)}: '${type}'`).join(', ');
      return `{ kind: 'union', tag: '${definition.tag}', members: ${tableMembers(definition, definitions)}, branches: { ${branches} } }`;
    }
    default:
      return `{ kind: 'struct', members: ${tableMembers(definition, definitions)} }`;
  }
}

function tableMembers(definition: Definition, definitions: Definitions): string {
  // A member with a condition is one of what commands return: nobody can give it.
  const given = allMembers(definition, definitions).filter(({ condition }) => condition === undefined);
  const members = given.map(({ name, type, optional }) => {
    return `${quoted(name)}: { type: ${tableReference(type)}${optional ? ', optional: true' : ''} }`;
  });
  return `{ ${members.join(', ')} }`;
}

function tableReference(type: TypeReference): string {
  return typeof type === 'string' ? `'${type}'` : `['${type[0]}']`;
}

function reference(type: TypeReference): string {
  const name = typeof type === 'string' ? type : type[0];
  const written = BUILT_IN[name] ?? name;
  return typeof type === 'string' ? written : `${written}[]`;
}

function quoted(name: string): string {
  return /^[A-Za-z_]\w*$/.test(name) ? name : `'${name}'`;
}

function doc(text: string, indent: string): string {
  // An `@name` of the schema would be a tag in a comment of TypeScript.
  const lines = text.replace(/(^|[\s(])@(?!deprecated)([\w*-]+)/g, '$1`$2`').split('\n');
  if (lines.length === 1) return `${indent}/** ${lines[0]} */\n`;
  return `${indent}/**\n${lines.map((line) => `${indent} * ${line}\n`).join('')}${indent} */\n`;
}
