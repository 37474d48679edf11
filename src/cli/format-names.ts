// Lists of the registered formats, for help texts.

import { allDrivers, type DriverDefinition, defaultDriver } from '../block/registry.js';
import { registerDrivers } from '../drivers/index.js';

/** Lists such as `raw, qcow2 or qed`. */
export interface FormatNames {
  /** Formats of images. */
  readonly all: string;
  /** The same, one by one. */
  readonly each: readonly string[];
  /** Those that images can be created in. */
  readonly eachMade: readonly string[];
  /** Formats that images can be created in, `preset` marked as the default. */
  made(preset: string): string;
  /** Formats with compressed clusters. */
  readonly compressed: string;
  /** Suffixes of file names: `.raw, .qcow2`. */
  readonly suffixes: string;
  /** The default format of an overlay. */
  readonly overlay: string;
}

export function formatNames(): FormatNames {
  registerDrivers();
  const formats = [...allDrivers()].filter(({ kind }) => kind === 'format');
  const made = formats.filter(({ createOptions }) => createOptions !== undefined);
  return {
    all: listed(formats.map(({ name }) => name)),
    each: formats.map(({ name }) => name),
    eachMade: made.map(({ name }) => name),
    made: (preset) => listed(made.map(({ name }) => (name === preset ? `${name} (default)` : name))),
    compressed: listed(formats.filter(({ compresses }) => compresses).map(({ name }) => name)),
    suffixes: made.flatMap(suffixesOf).join(', '),
    overlay: defaultDriver('overlay').name,
  };
}

function suffixesOf({ name, suffixes = [name] }: DriverDefinition): string[] {
  return suffixes.map((suffix) => `.${suffix}`);
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}
