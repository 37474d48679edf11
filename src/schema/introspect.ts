// What `query-qmp-schema` answers: of all that the schema defines, what is there (see CompatGeneration), and the types that this reaches.

import type { CompatGeneration, SchemaInfo } from './generated/types.js';

/** The older QMPs whose commands are there, too. */
export type Generations = ReadonlySet<CompatGeneration>;

interface Conditional {
  /** The older QMP that has it; undefined: it is always there. */
  if?: CompatGeneration;
}

type TypeName = 'arg-type' | 'ret-type' | 'element-type';

/** An entry as the generator writes it. */
export type ConditionalInfo = Conditional & { name: string; 'meta-type': string } & {
  readonly [K in TypeName]?: string;
} & {
  members?: readonly (Conditional & { name?: string; type?: string })[];
  variants?: readonly { case: string; type: string }[];
};

/** The entries that are there with what `generations` have. */
export function visibleSchema(all: readonly ConditionalInfo[], generations: Generations): SchemaInfo[] {
  const there = all.filter((info) => isThere(info, generations)).map((info) => visible(info, generations));
  const types = new Map(there.map((info) => [info.name, info]));
  const reached = new Set<ConditionalInfo>();
  const reach = (info: ConditionalInfo | undefined): void => {
    if (info === undefined || reached.has(info)) return;
    reached.add(info);
    for (const name of typesOf(info)) reach(types.get(name));
  };
  for (const info of there) if (info['meta-type'] === 'command' || info['meta-type'] === 'event') reach(info);
  return there.filter((info) => reached.has(info)) as unknown as SchemaInfo[];
}

function isThere({ if: condition }: Conditional, generations: Generations): boolean {
  return condition === undefined || generations.has(condition);
}

/** Without what is not there, and without conditions. */
function visible(info: ConditionalInfo, generations: Generations): ConditionalInfo {
  // Nearly all are as they stand.
  if (info.if === undefined && !info.members?.some((member) => member.if !== undefined)) return info;
  const { if: _condition, members, ...others } = info;
  if (members === undefined) return others;
  const kept = members.filter((member) => isThere(member, generations));
  return { ...others, members: kept.map(({ if: _its, ...member }) => member) };
}

function typesOf(info: ConditionalInfo): string[] {
  const names = [info['arg-type'], info['ret-type'], info['element-type']];
  for (const { type } of [...(info.members ?? []), ...(info.variants ?? [])]) names.push(type);
  return names.filter((name) => name !== undefined);
}
