// Authorisation: whether an identity (of a TLS client with a certificate, its distinguished name) is allowed.

import type { Host } from '../../host/host.js';
import type {
  AuthZListFileProperties,
  AuthZListProperties,
  AuthZSimpleProperties,
} from '../../schema/generated/types.js';
import { parseJsonObject } from '../../schema/options.js';
import { validate } from '../../schema/validate.js';
import { reportUnforeseen } from '../../util/best-effort.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { wordsOfErrno } from '../../util/system-words.js';

const MAX_LIST_BYTES = 1 << 20;

export interface Authorizer {
  /** Never rejects: where it cannot be found out, the answer is no. */
  authorise(identity: string): Promise<boolean>;
}

/** What is changed in `properties` later counts from then on. */
export function simpleAuthorizer(properties: AuthZSimpleProperties): Authorizer {
  return { authorise: async (name) => name === properties.identity };
}

/** As `simpleAuthorizer`. */
export function listAuthorizer(list: AuthZListProperties): Authorizer {
  return { authorise: async (name) => allowed(list, name) };
}

/** With `refresh` (default) the file is read for each identity anew. Rejects as `Host.readSmall`, and with `invalid-argument`. */
export async function listFileAuthorizer(
  host: Host,
  { filename, refresh = true }: AuthZListFileProperties,
): Promise<Authorizer> {
  const list = await readList(host, filename);
  if (!refresh) return listAuthorizer(list);
  return {
    async authorise(name) {
      try {
        return allowed(await readList(host, filename), name);
      } catch (error) {
        // A list that cannot be read allows no name.
        reportUnforeseen('access list', error);
        return false;
      }
    },
  };
}

async function readList(host: Host, path: string): Promise<AuthZListProperties> {
  try {
    const text = new TextDecoder().decode(await host.readSmall(path, MAX_LIST_BYTES));
    return validate('AuthZListProperties', parseJsonObject(text));
  } catch (cause) {
    const { code, errno, message } = toBlockError(cause);
    const why = errno === undefined ? message : (wordsOfErrno(errno) ?? message);
    throw new BlockError(code, `Unable to load authorization list ${path}: ${why}`, { path, cause });
  }
}

function allowed({ policy = 'deny', rules = [] }: AuthZListProperties, name: string): boolean {
  const rule = rules.find(({ match, format }) => (format === 'glob' ? matchesGlob(match, name) : match === name));
  return (rule?.policy ?? policy) === 'allow';
}

/** `*` stands for any text, `?` for one character. Takes at most as many steps as both lengths multiplied. */
export function matchesGlob(pattern: string, text: string): boolean {
  const letters = [...pattern];
  const characters = [...text];
  let at = 0;
  // Where the last star is, and how much of the text it has taken so far.
  let star = -1;
  let taken = 0;
  let i = 0;
  while (i < characters.length) {
    if (letters[at] === '*') {
      star = at++;
      taken = i;
    } else if (at < letters.length && (letters[at] === '?' || letters[at] === characters[i])) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++taken;
    } else {
      return false;
    }
  }
  while (letters[at] === '*') at++;
  return at === letters.length;
}
