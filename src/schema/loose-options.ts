// Options of a node of which nothing is known yet but their names and values: its driver may be found out from the image's content, and only
// then is it known which options there are. So each level is checked when it is opened.
//
//   file.filename=o,l2-cache-size=1M,backing.file.filename=b
//     ^ opened, probed: qcow2   -> the level's own options checked as those of qcow2   -> backing: the same again

import { BlockError } from '../util/errors.js';
import { TYPES } from './generated/table.js';
import type { BlockdevDriver, BlockdevOptions, BlockdevOptionsBase } from './generated/types.js';
import { flatten, type Nested } from './keyval.js';
import { withNbdServer } from './nbd-server.js';
import { type ValidateOptions, validate } from './validate.js';

type Members = Readonly<Record<string, unknown>>;

/** A child as options have it: options of its own, the name of a node, none (null); undefined where they do not speak of it. */
export type LooseChild = LooseOptions | string | null | undefined;

/** Options that name no child `name`, where the driver needs it. */
export function missingChild(name: string): BlockError {
  return new BlockError('invalid-argument', `A block device must be specified for "${name}"`);
}

/** Options that name no image at all. */
export function missingImage(): BlockError {
  return new BlockError('invalid-argument', 'Must specify either driver or file');
}

export class LooseOptions {
  readonly members: Members;
  readonly #how: ValidateOptions;

  /** `how` the values are read: text gives everything as text (`strings`). */
  constructor(members: Members, how: ValidateOptions) {
    this.members = members;
    this.#how = how;
  }

  /** They were written down as text, not made by a program. */
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

  /** What they say of the child `name`. Throws `invalid-argument` where that is no child at all. */
  child(name: string): LooseChild {
    const child = this.members[name];
    if (child === undefined || typeof child === 'string') return child;
    if (typeof child === 'object' && !Array.isArray(child)) {
      return child === null ? null : new LooseOptions(child as Members, this.#how);
    }
    throw new BlockError('invalid-argument', `Invalid parameter type for '${name}', expected: object`);
  }

  /** The same with `defaults` for what they leave out. */
  over(defaults: Members): LooseOptions {
    return new LooseOptions({ ...defaults, ...this.members }, this.#how);
  }

  /** The same without the members of these names, at each level. */
  without(names: ReadonlySet<string>): LooseOptions {
    const members: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(this.members)) {
      if (names.has(name)) continue;
      const child = name === 'file' || name === 'backing' ? this.child(name) : undefined;
      members[name] = child instanceof LooseOptions ? child.without(names).members : value;
    }
    return new LooseOptions(members, this.#how);
  }

  /** The same for another driver. */
  as(driver: string): LooseOptions {
    return new LooseOptions({ ...this.members, driver }, this.#how);
  }

  /** What every node has. Throws `invalid-argument`. */
  general(): Omit<BlockdevOptionsBase, 'driver'> {
    const general: Record<string, unknown> = { driver: 'null-co' };
    for (const name of Object.keys(GENERAL)) {
      if (name !== 'driver' && this.members[name] !== undefined) general[name] = this.members[name];
    }
    const { driver: _, ...checked } = validate('BlockdevOptions', general, this.#how);
    return checked;
  }

  /**
   * This level as the options of `driver`; of the children it is said only that they are there. Throws `invalid-argument` and
   * `unknown-option`, where text gave them in QEMU's words.
   */
  asOptionsOf({ name, kind, hasBacking }: LevelDriver): BlockdevOptions {
    const { file, backing } = this.members;
    if (kind !== 'protocol' && file === undefined) {
      throw missingChild('file');
    }
    if (backing !== undefined && !hasBacking) {
      throw new BlockError('invalid-argument', "Driver doesn't support backing files");
    }
    const level: Record<string, unknown> = { ...this.members, driver: name };
    if (file !== undefined) level['file'] = '';
    if (backing !== undefined) level['backing'] = null;
    const current = withNbdServer(level as { [key: string]: Nested });
    if (this.#how.strings) this.#checkNames(current, name, kind);
    return validate('BlockdevOptions', current, this.#how);
  }

  /** What is said of these where the format `driver` does not look at its child `name`: an image is only looked at. */
  unexpected(driver: string, name: string): BlockError {
    const [first = ''] = flatten({ [name]: this.members }).keys();
    return new BlockError('unknown-option', `Block format '${driver}' does not support the option '${first}'`);
  }

  /** In QEMU's words for options that come as text. */
  #checkNames(level: Members, driver: string, kind: string): void {
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
}

const GENERAL: Readonly<Record<string, unknown>> = TYPES.BlockdevOptions.members;

function ownMembers(driver: string): Readonly<Record<string, unknown>> {
  const branches: Readonly<Record<string, keyof typeof TYPES>> = TYPES.BlockdevOptions.branches;
  const branch = Object.hasOwn(branches, driver) ? TYPES[branches[driver]] : undefined;
  return branch?.kind === 'struct' ? branch.members : {};
}
