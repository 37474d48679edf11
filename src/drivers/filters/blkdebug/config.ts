// Rules in a file (`config`), as QEMU's -readconfig has it:
//
//   # what is tested
//   [set-state]
//   event = "write_aio"
//   new_state = "2"
//
//   [inject-error]
//   event = "write_aio"
//   state = "2"
//   errno = "28"

import type { Host } from '../../../host/host.js';
import { TYPES } from '../../../schema/generated/table.js';
import type {
  BlkdebugEvent,
  BlkdebugInjectErrorOptions,
  BlkdebugIOType,
  BlkdebugSetStateOptions,
} from '../../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { parseSwitch } from '../../../util/switches.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import type { RuleOptions } from './rules.js';

/** Bytes of a file at most. */
const MAX_FILE_BYTES = 1 << 20;

type Kind = 'number' | 'switch' | 'event' | 'iotype';

const SECTIONS: Readonly<Record<string, Readonly<Record<string, Kind>>>> = {
  'inject-error': {
    event: 'event',
    state: 'number',
    iotype: 'iotype',
    errno: 'number',
    sector: 'number',
    once: 'switch',
    immediately: 'switch',
  },
  'set-state': { event: 'event', state: 'number', new_state: 'number' },
};

/** Reads the rules of the file at `path`. Rejects with `invalid-argument`, in QEMU's words, and as reading a file does. */
export async function readConfig(host: Host, path: string): Promise<RuleOptions> {
  let bytes: Uint8Array;
  try {
    bytes = await host.readSmall(path, MAX_FILE_BYTES);
  } catch (cause) {
    const error = toBlockError(cause, { path, operation: 'open' });
    const words = (error.errno !== undefined && wordsOfErrno(error.errno)) || error.reason;
    throw new BlockError(error.code, `Could not read blkdebug config file: ${words}`, { path, cause: error });
  }
  return parseConfig(new TextDecoder().decode(bytes));
}

/** Throws `invalid-argument`. */
export function parseConfig(text: string): RuleOptions {
  const rules = { injectError: [] as BlkdebugInjectErrorOptions[], setState: [] as BlkdebugSetStateOptions[] };
  let section: { name: string; members: Record<string, unknown> } | null = null;
  const end = (): void => {
    if (section === null) return;
    const { name, members } = section;
    if (members['event'] === undefined) throw wrong('Missing event name for rule');
    if (name === 'set-state') rules.setState.push({ new_state: 0, ...members } as never);
    else rules.injectError.push(members as never);
  };
  for (const line of text.split('\n').map((one) => one.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    const header = /^\[([^\]" ]+)(?:\s+"[^"]*")?\]$/.exec(line);
    if (header !== null) {
      end();
      const [, name] = header;
      if (!Object.hasOwn(SECTIONS, name)) throw wrong(`There is no option group '${name}'`);
      section = { name, members: {} };
      continue;
    }
    if (section === null) throw wrong('no group defined');
    // Anything but `name = "value"` is taken for a name without a value.
    const [, name, value = ''] = /^(\S+)(?: = "([^"]*)")?/.exec(line)!;
    const { [section.name]: kinds } = SECTIONS;
    if (!Object.hasOwn(kinds, name)) throw wrong(`Invalid parameter '${name}'`);
    section.members[name] = parsedValue(name, kinds[name], value);
  }
  end();
  return rules;
}

function parsedValue(name: string, kind: Kind, value: string): number | boolean | BlkdebugEvent | BlkdebugIOType {
  switch (kind) {
    case 'number': {
      if (!/^-?(0x[0-9a-f]+|\d+)$/i.test(value)) throw wrong(`Parameter '${name}' expects a number`);
      const number = value.startsWith('-') ? -Number(value.slice(1)) : Number(value);
      if (!Number.isSafeInteger(number)) throw wrong(`Parameter '${name}' expects a number`);
      return number;
    }
    case 'switch': {
      const switched = parseSwitch(value);
      if (switched === null) throw wrong(`Parameter '${name}' expects 'on' or 'off'`);
      return switched;
    }
    default: {
      const { values } = kind === 'event' ? TYPES.BlkdebugEvent : TYPES.BlkdebugIOType;
      if ((values as readonly string[]).includes(value)) return value as BlkdebugEvent | BlkdebugIOType;
      throw wrong(`invalid parameter value: ${value}`);
    }
  }
}

function wrong(message: string): BlockError {
  return new BlockError('invalid-argument', message, { operation: 'open' });
}
