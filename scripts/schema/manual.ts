// Writes docs/qmp-reference.md: every command and event of the monitor, and the types that they are made of, with the texts of the schema.

import { BUILT_IN, type Definition, type Member, type TypeReference } from './model.js';

type Definitions = ReadonlyMap<string, Definition>;

const HEAD = `# QMP reference

<!-- Generated from src/schema/*.qapi by \`npm run schema\`. Do not edit. -->

All commands and events of the monitor of \`diskwright daemon\` and \`diskwright nbd --monitor\`, and the types of their members. [qmp.md](qmp.md) explains
the protocol, [daemon.md](daemon.md) says what differs from QEMU. A member in italics may be left out. \`query-qmp-schema\` tells a program the same.
`;

/** Text of \`docs/qmp-reference.md\`. */
export function writeManual(definitions: Definitions): string {
  const all = [...definitions.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const section = (title: string, wanted: (definition: Definition) => boolean): string =>
    [`## ${title}\n`, ...all.filter(wanted).map((definition) => entry(definition, definitions))].join('\n');
  return [
    HEAD,
    section('Commands', ({ kind }) => kind === 'command'),
    section('Events', ({ kind }) => kind === 'event'),
    section('Types', ({ kind }) => kind !== 'command' && kind !== 'event'),
  ].join('\n');
}

function entry(definition: Definition, definitions: Definitions): string {
  const { formOf, condition } = { formOf: undefined, condition: undefined, ...definition };
  const lines = [formOf === undefined ? `### ${definition.name}\n` : `### ${formOf}, with --compat ${condition}\n`];
  if (formOf === undefined && condition !== undefined) lines.push(`${onlyWith(condition)}\n`);
  if (definition.text !== '') lines.push(`${prose(definition.text)}\n`);
  const list = members(definition, definitions);
  if (list.length > 0) lines.push(`${list.join('\n')}\n`);
  if (definition.kind === 'command' && definition.returns !== undefined) {
    lines.push(`Returns: ${reference(definition.returns, definitions)}\n`);
  }
  return lines.join('\n');
}

function members(definition: Definition, definitions: Definitions): string[] {
  switch (definition.kind) {
    case 'enum':
      return definition.values.map(({ name, text }) => item(`\`${name}\``, text));
    case 'alternate':
      return definition.members.map(({ type, text }) => item(reference(type, definitions), text));
    case 'command':
    case 'event':
      return argument(definition.argument, definition.members, definitions);
    case 'struct':
      return argument(definition.base, definition.members, definitions);
    case 'union': {
      const branches = definition.branches.map(
        ({ value, type }) =>
          `- with \`${definition.tag}\` \`${value}\`: the members of ${reference(type, definitions)}`,
      );
      return [...argument(definition.base, definition.members, definitions), ...branches];
    }
  }
}

/** Own members, after those of the type that they are added to. */
function argument(base: string | undefined, own: readonly Member[], definitions: Definitions): string[] {
  const inherited = base === undefined ? [] : [`- the members of ${reference(base, definitions)}`];
  return [...inherited, ...own.map((member) => described(member, definitions))];
}

function described({ name, type, optional, condition, text }: Member, definitions: Definitions): string {
  const mark = optional ? '*' : '';
  const note = condition === undefined ? '' : ` ${onlyWith(condition)}`;
  return item(`${mark}\`${name}\`${mark} (${reference(type, definitions)})`, `${text}${note}`);
}

function onlyWith(condition: string): string {
  return `(Only with \`--compat ${condition}\`.)`;
}

function item(what: string, text: string): string {
  return text === '' ? `- ${what}` : `- ${what}: ${prose(text)}`;
}

function reference(type: TypeReference, definitions: Definitions): string {
  if (typeof type !== 'string') return `list of ${reference(type[0], definitions)}`;
  if (Object.hasOwn(BUILT_IN, type) || !definitions.has(type)) return type;
  return `[${type}](#${type.toLowerCase()})`;
}

/** The schema marks names of members with an at sign. Its lines are joined, paragraphs kept. */
function prose(text: string): string {
  return text
    .split(/\n\s*\n/)
    .map((paragraph) => paragraph.replace(/\s*\n\s*/g, ' ').trim())
    .join('\n\n  ')
    .replace(/@([\w-]+)/g, '`$1`');
}
