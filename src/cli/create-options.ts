// The `-o` options of `create` and `convert`, by qemu-img's names. Each format has its own (see `CreateOptions` of its driver definition); here
// they are parsed, listed for `-o help`, and translated to QAPI's create options.

import { statSync } from 'node:fs';
import type { ImageCreateOptions, NewFileOptions } from '../block/create.js';
import type { CreateOption, CreateOptions } from '../block/create-option.js';
import { parseProtocolName } from '../block/filename.js';
import { type DriverDefinition, defaultDriver, knownDriver } from '../block/registry.js';
import { registerDrivers } from '../drivers/index.js';
import type { BlockdevDriver } from '../schema/generated/types.js';
import { validate } from '../schema/validate.js';
import { orElse } from '../util/best-effort.js';
import { BlockError } from '../util/errors.js';
import { encodeName } from '../util/name-bytes.js';
import { MAX_BYTES, parseWholeNumber, sizeOfOption, UINT64_MAX } from '../util/size.js';
import { parseSwitch } from '../util/switches.js';
import { UsageError } from './getopt.js';
import { optionItems } from './option-text.js';
import { shown as shownName } from './output.js';
import { meant } from './own-hint.js';

/** What qemu-img makes where nobody names a format, whatever the file's name ends with. */
export const QEMU_IMG_FORMAT = 'raw';

/** The values of `-o` (and of `-b`, `-F` and the size), by qemu-img's names. Sizes are in bytes. */
export type CreateValues = Map<string, string>;

/** With this size in bytes, where they name none. */
export function withSize(values: CreateValues, size: number): CreateValues {
  return values.has('size') ? values : new Map(values).set('size', String(size));
}

/** Returns `name`. Throws `UsageError` where it is not a format that images can be created in. */
export function creatableFormat(name: string): string {
  createOptionsOf(name);
  return name;
}

/** The driver of a format that images can be created in; null where `name` is not one. */
export function creatableDriver(name: string): DriverDefinition | null {
  registerDrivers();
  const driver = knownDriver(name);
  return driver?.createOptions === undefined ? null : driver;
}

/** Throws `UsageError` where nobody can say how large images of the format become. */
export function checkMeasurable(name: string): void {
  registerDrivers();
  const driver = knownDriver(name);
  if (driver === null) throw new UsageError(`Unknown file format '${name}'`);
  if (driver.create === undefined && !driver.takesImages) {
    throw new UsageError(`Format driver '${name}' does not support image creation`);
  }
  if (driver.measure === undefined) throw new UsageError(`Block driver '${name}' does not support size measurement`);
}

function createOptionsOf(format: string): CreateOptions {
  const created = creatableDriver(format)?.createOptions;
  if (created !== undefined) return created;
  if (knownDriver(format)?.kind === 'format') {
    throw new UsageError(`Format driver '${format}' does not support image creation`);
  }
  throw new UsageError(`Unknown file format '${format}'`);
}

/** True where `-o help` was given. Throws `UsageError` for text that is not a list of options. */
export function asksForOptionHelp(texts: readonly string[]): boolean {
  for (const text of texts) {
    const comma = /,*$/.exec(text)![0].length % 2 === 1;
    if (text === '' || text.startsWith(',') || comma) throw new UsageError(`Invalid option list: ${text}`);
  }
  return texts.some((text) => text.split(',').some((word) => word === 'help' || word === '?'));
}

/** The name in `-o` of the option that becomes `member` of the create options; undefined where the format has no such option. */
export function optionOfMember(format: string, member: string): string | undefined {
  return createOptionsOf(format).options.find((option) => option.member === member)?.name;
}

/**
 * The text of `-o help`, as qemu-img prints it, with the options of the storage of `target`; null: no name was given, and qemu-img adds a hint about them.
 * `without`: members of the create options that a user of this verb cannot give; their options are not listed.
 */
export function optionHelp(format: string, target: string | null, without: readonly string[] = []): string {
  const own = createOptionsOf(format).options;
  const all = target === null ? own : [...own, ...storageOptionsOf(target)].sort((a, b) => (a.name < b.name ? -1 : 1));
  const offered = all.filter(({ member }) => member === null || !without.includes(member));
  const lines = optionLines(offered);
  if (target !== null) return `Supported options:\n${lines}\n`;
  const more = 'The protocol level may support further options.\nSpecify the target filename to include those options.';
  return `Supported ${format} options:\n${lines}\n\n${more}\n`;
}

function optionLines(options: readonly CreateOption[]): string {
  return options.map(({ name, kind, help }) => `  ${`${name}=<${kind}>`.padEnd(22)} - ${help}`).join('\n');
}

/** The text of `amend -o help`. Throws `UsageError` where images of the format cannot be amended. */
export function amendHelp(format: string): string {
  return `Amend options for '${format}':\n${optionLines(amendOptionsOf(format))}\n`;
}

function amendOptionsOf(format: string): readonly CreateOption[] {
  registerDrivers();
  const driver = knownDriver(format);
  if (driver === null) throw new UsageError(`Unknown file format '${format}'`);
  if (driver.amendOptions !== undefined) return driver.amendOptions;
  throw new UsageError(`Format driver '${format}' does not support option amendment`);
}

/** Parses the `-o` strings of `amend` to options by the names of QAPI. Throws `UsageError`. */
export function parseAmendOptions(format: string, texts: readonly string[]): Record<string, unknown> {
  const options: Record<string, unknown> = {};
  const known = amendOptionsOf(format);
  for (const text of texts) {
    for (const { name, value } of optionItems(text)) {
      const option = known.find((candidate) => candidate.name === name);
      if (option?.member) {
        put(options, option.member, memberValue(option, checkedValue(option, value)));
        continue;
      }
      const isOfNew = createOptionsOf(format).options.some((candidate) => candidate.name === name);
      const hint = makesImages(format, texts) ? ['This option is only supported for image creation'] : [];
      const after = isOfNew ? hint : meantName(name, known);
      throw new UsageError(`Invalid parameter '${name}'`, false, after);
    }
  }
  return options;
}

function meantName(name: string, known: readonly CreateOption[]): string[] {
  return meant(
    name,
    known.map((option) => option.name),
  );
}

/** Whether `create` takes all of these options, names and values. */
function makesImages(format: string, texts: readonly string[]): boolean {
  try {
    parseOptions(createOptionsOf(format).options, texts);
    return true;
  } catch (error) {
    if (error instanceof UsageError) return false;
    throw error;
  }
}

/** What the storage of an image of this name is made with: a file has options of its own, beside those of the format. */
function storageOptionsOf(target: string): readonly CreateOption[] {
  registerDrivers();
  // No file has that name, which the one who makes the image says.
  if (target === '') return defaultDriver('path').storageOptions ?? [];
  try {
    const { driver, ...place } = parseProtocolName(target);
    if ('filename' in place && statSync(encodeName(String(place.filename)), { throwIfNoEntry: false })?.isBlockDevice())
      return [];
    return knownDriver(driver)?.storageOptions ?? [];
  } catch (error) {
    // Whoever makes the image says what is wrong with the name.
    return orElse<readonly CreateOption[]>('options of the storage', [])(error);
  }
}

/** The options of the file, among those values. */
export function fileCreateOptions(values: CreateValues): NewFileOptions {
  const options: Record<string, unknown> = {};
  for (const option of defaultDriver('path').storageOptions ?? []) {
    const value = values.get(option.name);
    if (value !== undefined && option.member !== null) put(options, option.member, memberValue(option, value));
  }
  return options;
}

/** Parses the `-o` strings for the image `target`. Throws `UsageError` for a name or a value that the format does not accept. */
export function parseCreateOptions(format: string, texts: readonly string[], target: string): CreateValues {
  return parseOptions([...createOptionsOf(format).options, ...storageOptionsOf(target)], texts);
}

function parseOptions(known: readonly CreateOption[], texts: readonly string[]): CreateValues {
  const values: CreateValues = new Map();
  for (const text of texts) {
    for (const { name, value } of optionItems(text)) {
      const option = known.find((candidate) => candidate.name === name);
      if (option === undefined) throw new UsageError(`Invalid parameter '${name}'`, false, meantName(name, known));
      values.set(name, checkedValue(option, value));
    }
  }
  return values;
}

/** Whether an image that is made so has a disk, and with it a size. */
export function makesDisk(format: string, values: CreateValues): boolean {
  const { withoutDisk } = createOptionsOf(format);
  return withoutDisk === undefined || !isOn(values.get(withoutDisk));
}

/** Whether a switch is on that was given as this text; one that was left out is off. */
export function isOn(text: string | undefined): boolean {
  return parseSwitch(text ?? 'off') === true;
}

function checkedValue({ name, kind, member }: CreateOption, value: string): string {
  if (kind === 'size') return String(sizeOf(name, value));
  if (kind === 'num') return String(numberOf(name, value));
  if (kind !== 'bool (on/off)') return value;
  const switched = parseSwitch(value);
  if (switched === null) throw new UsageError(`Parameter '${name}' expects 'on' or 'off'`);
  if (member === null && switched) throw new UsageError(`option '${name}=on' is not supported yet`);
  return value;
}

/** Only `size` is checked against 2^53 - 1 here: the format rejects any other value that large (a cluster size) by itself. */
function sizeOf(name: string, text: string): bigint {
  let size: bigint;
  try {
    size = sizeOfOption(name, text);
  } catch (error) {
    const [line, ...after] = (error as Error).message.split('\n');
    throw new UsageError(line, false, after);
  }
  if (size <= MAX_BYTES || name !== 'size') return size;
  throw new UsageError(`Image sizes beyond ${MAX_BYTES} bytes (2^53 - 1) are not supported`);
}

/** Reads a number as the C library does: a negative one becomes very large. */
function numberOf(name: string, text: string): bigint {
  const number = parseWholeNumber(text);
  if (number === null) throw new UsageError(`Parameter '${name}' expects a number`);
  if (number > UINT64_MAX || number < -UINT64_MAX) {
    throw new UsageError(`Value '${text}' is too large for parameter '${name}'`);
  }
  return BigInt.asUintN(64, number);
}

/** Options of the file in the order of qemu-img's "Formatting" line. */
const FILE_SUMMARY = ['nocow', 'extent_size_hint'];

/** `Formatting 'disk', fmt=qcow2 cluster_size=65536 ...` */
export function formattingLine(filename: string, format: string, values: CreateValues): string {
  const { summary } = createOptionsOf(format);
  const rest = FILE_SUMMARY.filter((name) => !summary.some(([listed]) => listed === name));
  const shown = [...summary, ...rest.map((name) => [name] as const)].flatMap(([name, preset]) => {
    const value = values.get(name) ?? preset;
    return value === undefined ? [] : [`${name}=${shownName(value.replaceAll(',', ',,'))}`];
  });
  return `Formatting '${shownName(filename)}', fmt=${format} ${shown.join(' ')}\n`;
}

/** The create options for the driver; `values` must have `size`. Throws `invalid-argument` with QMP's message. */
export function imageCreateOptions(format: string, values: CreateValues): ImageCreateOptions {
  const options: Record<string, unknown> = { driver: format };
  for (const option of createOptionsOf(format).options) {
    const { name, aliasOf, aliasWords } = option;
    const value = values.get(name);
    if (aliasOf !== undefined && value !== undefined && values.has(aliasOf)) {
      if (aliasWords !== undefined && memberValue(option, value) === undefined) continue;
      const both = `'${aliasOf}' and its alias '${name}' can't be used at the same time`;
      throw new BlockError('invalid-argument', aliasWords ?? both);
    }
    if (value !== undefined && option.member !== null) put(options, option.member, memberValue(option, value));
  }
  // The schema requires `file`; whoever creates the image adds it.
  const { file: _, ...rest } = validate('BlockdevCreateOptions', { ...options, file: 'file' }) as { file: string } & {
    driver: BlockdevDriver;
  };
  return rest as ImageCreateOptions;
}

/** `encrypt.format` is the member of a member. Undefined: the member is left out. */
function put(options: Record<string, unknown>, member: string, value: unknown): void {
  if (value === undefined) return;
  const dot = member.indexOf('.');
  if (dot < 0) {
    options[member] = value;
    return;
  }
  const outer = member.slice(0, dot);
  const inner = (options[outer] ?? {}) as Record<string, unknown>;
  options[outer] = inner;
  put(inner, member.slice(dot + 1), value);
}

function memberValue({ kind, isInt, isFile, reading, values: named }: CreateOption, value: string): unknown {
  if (isInt) return Number(BigInt.asIntN(32, BigInt(value)));
  if (kind === 'size' || kind === 'num') return reading === undefined ? exact(value) : reading(exact(value));
  if (kind === 'bool (on/off)') {
    const switched = isOn(value);
    return named === undefined ? switched : named[switched ? 'on' : 'off'];
  }
  return isFile ? parseProtocolName(value) : (named?.[value] ?? value);
}

/** The value as a number. One beyond 2^53 is beyond every limit, so it need not be exact. */
function exact(value: string): number {
  return Math.min(Number(value), Number.MAX_SAFE_INTEGER);
}
