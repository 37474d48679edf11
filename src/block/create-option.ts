// The options that a format's images are made with at a shell (`-o`), by qemu-img's names. Each driver says its own; their meaning is that
// of the members of `BlockdevCreateOptions` that they become.

export interface CreateOption {
  name: string;
  kind: 'str' | 'size' | 'num' | 'bool (on/off)';
  help: string;
  /** Name in `BlockdevCreateOptions`, `encrypt.format` for a member of a member; null: only the default is supported. */
  member: string | null;
  /** Of a number: it is cut to 32 bits with a sign, as QEMU's tools do. */
  isInt?: true;
  /** What QEMU's tools make of a number that is given; undefined: as if it was not. */
  reading?: (value: number) => number | undefined;
  /** The value is the name of a file, the member what opens that. */
  isFile?: true;
  /** The option of which it is an older form: they cannot come together. */
  aliasOf?: string;
  /** With `aliasOf`: the words in which both are refused, where this one says anything. */
  aliasWords?: string;
  /** Values that are called otherwise there; of a switch, those that say something at all. */
  values?: Readonly<Record<string, string>>;
}

export interface CreateOptions {
  /** In the order in which qemu-img lists them. */
  readonly options: readonly CreateOption[];
  /** The order of qemu-img's "Formatting" line, and what it says of options that were not given. */
  readonly summary: readonly (readonly [name: string, preset?: string])[];
  /** The switch with which no disk is made, but what belongs to one that is there: then a size need not be given. */
  readonly withoutDisk?: string;
}

export const SIZE_OPTION: CreateOption = { name: 'size', kind: 'size', help: 'Virtual disk size', member: 'size' };
