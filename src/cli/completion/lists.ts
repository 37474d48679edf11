// What a shell completes in the lists of `-o`: the names of a format's options, and their values where these are a few words.

import type { CreateOption } from '../../block/create-option.js';
import { allDrivers, type DriverDefinition } from '../../block/registry.js';
import { TYPES } from '../../schema/generated/table.js';

/** For new images, or for images that are amended. */
export type ListKind = 'create' | 'amend';

export interface ListedOption {
  name: string;
  /** Empty: anything. */
  values: readonly string[];
}

/** The options of each format that has some. */
type OptionLists = Readonly<Record<ListKind, Readonly<Record<string, readonly ListedOption[]>>>>;

function optionLists(): OptionLists {
  const create: Record<string, readonly ListedOption[]> = {};
  const amend: Record<string, readonly ListedOption[]> = {};
  for (const driver of [...allDrivers()].filter(({ kind }) => kind === 'format')) {
    if (driver.createOptions !== undefined) create[driver.name] = listed(driver, driver.createOptions.options);
    if (driver.amendOptions !== undefined) amend[driver.name] = listed(driver, driver.amendOptions);
  }
  return { create, amend };
}

/** For each kind, and each format of it, what is listed; under the name '' for a format that is not named, or has no options. */
export function eachList(): (readonly [kind: string, format: string, options: readonly ListedOption[]])[] {
  return Object.entries(optionLists()).flatMap(([kind, formats]) =>
    [...Object.entries(formats), ['', allListed(formats)] as const].map(
      ([format, options]) => [kind, format, options] as const,
    ),
  );
}

/** The options of all formats, each name once. */
function allListed(formats: OptionLists[ListKind]): ListedOption[] {
  const found = new Map<string, Set<string>>();
  for (const { name, values } of Object.values(formats).flat()) {
    found.set(name, new Set([...(found.get(name) ?? []), ...values]));
  }
  return [...found].map(([name, values]) => ({ name, values: [...values] }));
}

function listed(driver: DriverDefinition, options: readonly CreateOption[]): ListedOption[] {
  return options.map((option) => ({ name: option.name, values: valuesOf(driver.name, option) }));
}

function valuesOf(format: string, { kind, member, values }: CreateOption): readonly string[] {
  if (kind === 'bool (on/off)') return ['on', 'off'];
  if (values !== undefined) return Object.keys(values);
  if (kind !== 'str' || member === null) return [];
  return wordsOfMember(format, member);
}

/** The words that a member of the create options may be; empty where it is no such member. */
function wordsOfMember(format: string, member: string): readonly string[] {
  const { branches } = TYPES.BlockdevCreateOptions as { branches: Readonly<Record<string, string>> };
  const types = TYPES as unknown as Readonly<
    Record<string, { members?: Readonly<Record<string, { type: unknown }>>; values?: readonly string[] }>
  >;
  const type = types[branches[format] ?? '']?.members?.[member]?.type;
  return (typeof type === 'string' ? types[type]?.values : undefined) ?? [];
}
