// The parameters that stand behind an option of the daemon (`id=ID,path=PATH`), checked by the type that the option's spec names.

import type { QapiTypes } from '../../schema/generated/types.js';
import { validate } from '../../schema/validate.js';
import { OPTIONS } from './options.js';

type SpecWithType = Extract<(typeof OPTIONS)[number], { parameters: keyof QapiTypes }>;
type OptionWithType = SpecWithType['key'];

/** What the parameters of an option are. */
export type ParametersOf<K extends OptionWithType> = QapiTypes[Extract<SpecWithType, { key: K }>['parameters']];

/** Checks what was parsed of the argument of `option`. Throws `invalid-argument`, `unknown-option`. */
export function checkParameters<K extends OptionWithType>(option: K, parsed: object): ParametersOf<K> {
  const spec = OPTIONS.find((one): one is SpecWithType => one.key === option)!;
  return validate(spec.parameters, parsed, { strings: true }) as ParametersOf<K>;
}
