// Options of a node whose driver may not be known yet: the driver may have to be found out from the image's content, and which options are
// valid depends on the driver. So each level of a chain is checked when it is opened, not before.
//
//   file.filename=o,l2-cache-size=1M,backing.file.filename=b
//     ^ opened, probed: qcow2   -> the level's own options checked as those of qcow2   -> backing: the same again

import { BlockError } from '../util/errors.js';
import { TYPES } from './generated/table.js';
import type { BlockdevDriver, BlockdevOptions, BlockdevOptionsBase } from './generated/types.js';
import { flatten, type Nested } from './keyval.js';
import type { Members } from './table.js';
import { refuseMisspelt, type ValidateOptions, validate } from './validate.js';

type GivenMembers = Readonly<Record<string, unknown>>;

/** The option for a child: options of the child's own, the name of a node, or null for no child; undefined where it is left out. */
export type LooseChild = LooseOptions | string | null | undefined;

/** The error for options that leave out the child `name`, which the driver needs. */
export function missingChild(name: string): BlockError {
  return new BlockError('invalid-argument', `A block device must be specified for "${name}"`);
}

/** The error for options without any image. */
export function missingImage(): BlockError {
  return new BlockError('invalid-argument', 'Must specify either driver or file');
}

export class LooseOptions {
  readonly members: GivenMembers;
  readonly #how: ValidateOptions;

  /** `how`: how values are read. Options that were parsed from text have all values as text (`strings`). */
  constructor(members: GivenMembers, how: ValidateOptions) {
    this.members = members;
    this.#how = how;
  }

  /** True where the options were parsed from text; false where a program passed them as an object. */
  get isText(): boolean {
    return this.#how.strings === true;
  }

  /** Name of the driver; undefined where it is to be found out. In text, what is no name is as if it were left out (as in QEMU). */
  get driver(): string | undefined {
    const { driver } = this.members;
    if (typeof driver === 'string' || driver === undefined) return driver;
    if (this.#how.strings) return undefined;
    throw new BlockError('invalid-argument', "Invalid parameter type for 'driver', expected: string");
  }

  /** The path of a protocol's node; null where there is none. */
  get filename(): string | null {
    const { filename } = this.members;
    return typeof filename === 'string' ? filename : null;
  }

  get file(): LooseChild {
    return this.child('file');
  }

  get backing(): LooseChild {
    return this.child('backing');
  }

  /** The option for the child `name`. Throws `invalid-argument` where its value is neither options, a name, nor null. */
  child(name: string): LooseChild {
    const child = this.#member(name);
    if (child === undefined || typeof child === 'string') return child;
    if (typeof child === 'object' && !Array.isArray(child)) {
      return child === null ? null : new LooseOptions(child as GivenMembers, this.#how);
    }
    throw new BlockError('invalid-argument', `Invalid parameter type for '${name}', expected: object`);
  }

  /** `children.1` is the second of the list `children`. */
  #member(name: string): unknown {
    const dot = name.lastIndexOf('.');
    if (dot < 0) return this.members[name];
    const list = this.members[name.slice(0, dot)];
    return Array.isArray(list) ? list[Number(name.slice(dot + 1))] : undefined;
  }

  /** The options for all children that are given. Throws as `child`. */
  children(): LooseChild[] {
    const given = childNames().filter((name) => this.members[name] !== undefined);
    const listed = listNames().flatMap((name) => {
      const list = this.members[name];
      return Array.isArray(list) ? list.map((_, index) => `${name}.${index}`) : [];
    });
    return [...given, ...listed].map((name) => this.child(name));
  }

  /** A copy, with `defaults` for the members that are left out. */
  over(defaults: GivenMembers): LooseOptions {
    return new LooseOptions({ ...defaults, ...this.members }, this.#how);
  }

  /** A copy in which `members` hold, whatever was given. */
  with(members: GivenMembers): LooseOptions {
    return new LooseOptions({ ...this.members, ...members }, this.#how);
  }

  /** A copy without the members of these names, at each level. */
  without(names: ReadonlySet<string>): LooseOptions {
    const members: Record<string, unknown> = {};
    const children = childNames();
    const lists = listNames();
    for (const [name, value] of Object.entries(this.members)) {
      if (names.has(name)) continue;
      if (lists.includes(name) && Array.isArray(value)) {
        const parts = value.map((_, index) => this.child(`${name}.${index}`));
        members[name] = parts.map((one) => (one instanceof LooseOptions ? one.without(names).members : one));
        continue;
      }
      const child = children.includes(name) ? this.child(name) : undefined;
      members[name] = child instanceof LooseOptions ? child.without(names).members : value;
    }
    return new LooseOptions(members, this.#how);
  }

  /** A copy for another driver. */
  as(driver: string): LooseOptions {
    return new LooseOptions({ ...this.members, driver }, this.#how);
  }

  /** The options that every driver takes. Throws `invalid-argument`. */
  general(): Omit<BlockdevOptionsBase, 'driver'> {
    const general: Record<string, unknown> = { driver: 'null-co' };
    for (const name of Object.keys(GENERAL)) {
      if (name !== 'driver' && this.members[name] !== undefined) general[name] = this.members[name];
    }
    const { driver: _, ...checked } = validate('BlockdevOptions', general, this.#how);
    return checked;
  }

  /**
   * This level, checked as options of the driver. Children are not checked: in the result, a placeholder stands for each that is given. Throws
   * `invalid-argument` and `unknown-option`; for options that were parsed from text, the message is QEMU's.
   */
  asOptionsOf({ name, kind, hasBacking, readsBacking, withoutOldOptions }: LevelDriver): BlockdevOptions {
    const { backing } = this.members;
    const children = Object.entries(childrenOf(name));
    for (const [child, { optional }] of children) {
      if (optional || this.members[child] !== undefined) continue;
      if (this.#how.suggest)
        refuseMisspelt(this.members, [...Object.keys(ownMembers(name)), ...Object.keys(GENERAL)], child);
      throw missingChild(child);
    }
    if (backing !== undefined && !hasBacking && !readsBacking) {
      throw new BlockError('invalid-argument', "Driver doesn't support backing files");
    }
    const level: Record<string, unknown> = { ...this.members, driver: name };
    for (const [child, { type }] of children) {
      if (level[child] !== undefined) level[child] = type === 'BlockdevRefOrNull' ? null : '';
    }
    for (const list of Object.keys(listsOf(name))) {
      if (Array.isArray(level[list])) level[list] = level[list].map(() => '');
    }
    const current = withoutOldOptions?.(level as { [key: string]: Nested }) ?? level;
    if (this.#how.strings) this.#checkNames(current, name, kind);
    return validate('BlockdevOptions', current, this.#how);
  }

  /** The error for these options of a child `name` that the format `driver` will not open, because the image is only inspected. */
  unexpected(driver: string, name: string): BlockError {
    const [first = ''] = flatten({ [name]: this.members }).keys();
    return new BlockError('unknown-option', `Block format '${driver}' does not support the option '${first}'`);
  }

  /** Checks the names of options that were parsed from text, with QEMU's messages. */
  #checkNames(level: GivenMembers, driver: string, kind: string): void {
    const own = ownMembers(driver);
    if (Object.hasOwn(own, 'filename') && this.filename === null) {
      throw new BlockError('invalid-argument', `The '${driver}' block driver requires a file name`);
    }
    for (const name of Object.keys(level)) {
      if (Object.hasOwn(own, name) || Object.hasOwn(GENERAL, name)) continue;
      const message =
        kind === 'protocol'
          ? `Block protocol '${driver}' doesn't support the option '${name}'`
          : `Block format '${driver}' does not support the option '${name}'`;
      throw new BlockError('unknown-option', message);
    }
  }
}

/** What must be known of a driver to check a level of options. */
export interface LevelDriver {
  name: BlockdevDriver;
  kind: 'protocol' | 'format' | 'filter';
  hasBacking?: boolean;
  readsBacking?: boolean;
  /** Replaces options that have older names by those of the schema. Throws `invalid-argument`. */
  withoutOldOptions?(level: { [key: string]: Nested }): { [key: string]: Nested };
}

const GENERAL: Readonly<Record<string, unknown>> = TYPES.BlockdevOptions.members;

const BRANCHES: Readonly<Record<string, keyof typeof TYPES>> = TYPES.BlockdevOptions.branches;

function ownMembers(driver: string): Members {
  const branch = Object.hasOwn(BRANCHES, driver) ? TYPES[BRANCHES[driver]] : undefined;
  return branch?.kind === 'struct' ? branch.members : {};
}

/** The members of a driver that are children. */
function childrenOf(driver: string): Members {
  const own = Object.entries(ownMembers(driver));
  return Object.fromEntries(own.filter(([, { type }]) => type === 'BlockdevRef' || type === 'BlockdevRefOrNull'));
}

/** The members of a driver that are lists of children. */
function listsOf(driver: string): Members {
  const own = Object.entries(ownMembers(driver));
  return Object.fromEntries(own.filter(([, { type }]) => Array.isArray(type) && type[0] === 'BlockdevRef'));
}

/** The names of such lists of any driver. */
export function listNames(): string[] {
  return [...new Set(Object.keys(BRANCHES).flatMap((driver) => Object.keys(listsOf(driver))))];
}

/** The names that children of any driver have, `file` first. */
export function childNames(): string[] {
  return [...new Set(['file', ...Object.keys(BRANCHES).flatMap((driver) => Object.keys(childrenOf(driver)))])];
}
