// The formats that help texts list: those of the registry.

import { allDrivers, type DriverDefinition, defaultDriver } from '../block/registry.js';
import { registerDrivers } from '../drivers/index.js';

/** Lists such as `raw, qcow2 or qed`. */
export interface FormatNames {
  /** Formats of images. */
  readonly all: string;
  /** Those that images can be made of, `preset` marked as the default. */
  made(preset: string): string;
  /** Those with compressed clusters. */
  readonly compressed: string;
  /** What names of images end with: `.raw`, `.qcow2`. */
  readonly suffixes: string;
  /** The format of an overlay where none is named. */
  readonly overlay: string;
}

export function formatNames(): FormatNames {
  registerDrivers();
  const formats = [...allDrivers()].filter(({ kind }) => kind === 'format');
  const made = formats.filter(({ createOptions }) => createOptions !== undefined);
  return {
    all: listed(formats.map(({ name }) => name)),
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
