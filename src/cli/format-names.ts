// Lists of the registered formats, for help texts: those that are only read come last, and are called so.

import { allDrivers, type DriverDefinition, defaultDriver, suffixesOf } from '../block/registry.js';
import { registerDrivers } from '../drivers/index.js';

/** Lists such as `raw, qcow2 or qed`. */
export interface FormatNames {
  /** Formats of images: `raw, qcow2 or qed; read only: bochs or dmg`. */
  readonly all: string;
  /** The same, one by one. */
  readonly each: readonly string[];
  /** Those that images can be created in. */
  readonly eachMade: readonly string[];
  /** Formats that images can be created in, `preset` marked as the default. */
  made(preset: string): string;
  /** Formats with compressed clusters. */
  readonly compressed: string;
  /** Of these, the ones whose images can lie over another one. */
  readonly compressedOverlays: string;
  /** Formats whose images become longer and shorter. */
  readonly resized: string;
  /** Formats whose images only become longer. */
  readonly enlarged: string;
  /** Suffixes of file names: `.raw, .qcow2`. */
  readonly suffixes: string;
  /** The default format of an overlay. */
  readonly overlay: string;
}

export function formatNames(): FormatNames {
  registerDrivers();
  const formats = [...allDrivers()].filter(({ kind }) => kind === 'format');
  const made = formats.filter(({ createOptions }) => createOptions !== undefined);
  const onlyRead = formats.filter(({ createOptions }) => createOptions === undefined);
  return {
    all:
      onlyRead.length === 0
        ? listed(namesOf(made))
        : `${listed(namesOf(made))}; read only: ${listed(namesOf(onlyRead))}`,
    each: namesOf(formats),
    eachMade: namesOf(made),
    made: (preset) => listed(made.map(({ name }) => (name === preset ? `${name} (default)` : name))),
    compressed: listed(namesOf(formats.filter(({ compresses }) => compresses))),
    compressedOverlays: listed(namesOf(formats.filter(({ compresses, hasBacking }) => compresses && hasBacking))),
    resized: listed(namesOf(formats.filter(({ resizes }) => resizes === true))),
    enlarged: listed(namesOf(formats.filter(({ resizes }) => resizes === 'longer'))),
    suffixes: made.flatMap((one) => suffixesOf(one).map((suffix) => `.${suffix}`)).join(', '),
    overlay: defaultDriver('overlay').name,
  };
}

function namesOf(drivers: readonly DriverDefinition[]): string[] {
  return drivers.map(({ name }) => name);
}

function listed(names: readonly string[]): string {
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
}
