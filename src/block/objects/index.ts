// Objects that the user makes and others name: `--object tls-creds-psk,id=tls0,dir=/keys` and then `tls-creds=tls0`. What they need of
// files is read when they are made.
//
//   text or options -> ObjectOptions -> Secret | TlsCredentials | Authorizer | ThrottleGroup -> found by id

import type { Host } from '../../host/host.js';
import type { TlsSettings } from '../../host/net.js';
import type { ThrottleGroup } from '../../host/throttle.js';
import type { ObjectOptions } from '../../schema/generated/types.js';
import { parseKeyval } from '../../schema/keyval.js';
import { parseJsonObject } from '../../schema/options.js';
import { validate } from '../../schema/validate.js';
import { reportUnforeseen } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { type Authorizer, listAuthorizer, listFileAuthorizer, simpleAuthorizer } from './authz.js';
import type { Made, UserObject } from './object.js';
import { ObjectTree } from './qom.js';
import { readSecret } from './secret.js';
import { makeThrottleGroup } from './throttle-group.js';
import { readPskCredentials, readX509Credentials } from './tls-creds.js';

export type { Authorizer } from './authz.js';

/** Known to QEMU, not to us: to be refused in words of their own. */
const MISSING_TYPES = ['authz-pam', 'iothread', 'secret_keyring', 'tls-creds-anon', 'tls-cipher-suites'];
const MISSING_PROPERTIES: Readonly<Record<string, string>> = {
  priority: 'cipher priorities in the notation of GnuTLS',
  'sanity-check': 'certificates are checked when they are used',
  loaded: 'objects are always loaded when they are made',
};

/** Throws `invalid-argument` where `id` is no name for an object or a device. */
export function checkIdentifier(id: string): void {
  if (/^[A-Za-z][\w.-]*$/.test(id)) return;
  throw new BlockError(
    'invalid-argument',
    "Parameter 'id' expects an identifier\nIdentifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
  );
}

/** The objects of one graph, by id. */
export class UserObjects {
  readonly #host: Host;
  readonly #entries = new Map<string, UserObject>();
  /** The same as the monitor sees them. */
  readonly tree = new ObjectTree(this.#entries);

  constructor(host: Host) {
    this.#host = host;
  }

  /**
   * Makes an object of options, or of text as `--object` has it (`qom-type,id=...,key=value` or JSON). Rejects with `invalid-argument`,
   * `unknown-option`, `unsupported`, `exists` and with what reading its files rejects with. `suggest`: see `ValidateOptions`.
   */
  async add(input: string | ObjectOptions, suggest = false): Promise<void> {
    const options = parseObject(input, suggest);
    const { id } = options;
    checkIdentifier(id);
    this.#checkFree(id);
    const made = await this.#make(options);
    this.#checkFree(id);
    this.#entries.set(id, { options, made });
  }

  /**
   * Throws `not-found`, and `busy` for a throttle group with members. What uses another object goes on with what it has. The bytes of a secret are zeroed.
   */
  remove(id: string): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new BlockError('not-found', `object '${id}' not found`);
    if (entry.made.kind === 'throttle-group' && entry.made.group.memberCount > 0) {
      throw new BlockError('busy', `object '${id}' is in use, can not be deleted`);
    }
    this.#entries.delete(id);
    if (entry.made.kind === 'secret') entry.made.secret.fill(0);
  }

  /** Throws `not-found`, also where `id` is something else. */
  throttleGroup(id: string): ThrottleGroup {
    const found = this.findThrottleGroup(id);
    if (found !== undefined) return found;
    throw new BlockError('not-found', `Throttle group '${id}' does not exist`);
  }

  /** The throttle group of that name; undefined where there is none. */
  findThrottleGroup(id: string): ThrottleGroup | undefined {
    const made = this.#entries.get(id)?.made;
    return made?.kind === 'throttle-group' ? made.group : undefined;
  }

  /** Throws `not-found`, or `invalid-argument` where `id` is something else or for the other side. */
  tls(id: string, side: TlsSettings['side']): TlsSettings {
    const entry = this.#entries.get(id)?.made;
    if (entry === undefined) throw new BlockError('not-found', `No TLS credentials with id '${id}'`);
    if (entry.kind !== 'tls') throw new BlockError('invalid-argument', `Object with id '${id}' is not TLS credentials`);
    if (entry.settings.side !== side) {
      throw new BlockError('invalid-argument', `Expected TLS credentials for a ${side} endpoint`);
    }
    return entry.settings;
  }

  /** Looks for the object of this id each time that somebody is to be let in; where there is none, or it is something else, nobody is. */
  lazyAuthorizer(id: string): Authorizer {
    return {
      authorise: async (identity) => {
        try {
          return await this.authorizer(id).authorise(identity);
        } catch (error) {
          reportUnforeseen('authorization', error);
          return false;
        }
      },
    };
  }

  /** Throws `not-found`, or `invalid-argument` where `id` is something else. */
  authorizer(id: string): Authorizer {
    const entry = this.#entries.get(id)?.made;
    if (entry === undefined) throw new BlockError('not-found', `Unable to find authorization object '${id}'`);
    if (entry.kind !== 'authz') {
      throw new BlockError('invalid-argument', `Object with id '${id}' is not an authorization object`);
    }
    return entry.authorizer;
  }

  /**
   * The bytes of a secret, for use at once: they are zeroed when the object is removed. `copySecret` gives some that stay. Throws `not-found`, or `invalid-argument`
   * where `id` is something else.
   */
  secret(id: string): Uint8Array {
    const entry = this.#entries.get(id)?.made;
    if (entry === undefined) throw new BlockError('not-found', `No secret with id '${id}'`);
    if (entry.kind !== 'secret') throw new BlockError('invalid-argument', `Object with id '${id}' is not a secret`);
    return entry.secret;
  }

  /** A copy of a secret, to be given back by `Ciphers.forget`. Throws as `secret`. */
  copySecret(id: string): Uint8Array {
    const secret = this.secret(id);
    const copy = this.#host.ciphers.secret(secret.length);
    copy.set(secret);
    return copy;
  }

  #checkFree(id: string): void {
    if (this.#entries.has(id))
      throw new BlockError('exists', `attempt to add duplicate property '${id}' to object (type 'container')`);
  }

  async #make(options: ObjectOptions): Promise<Made> {
    switch (options['qom-type']) {
      case 'secret':
        return { kind: 'secret', secret: await readSecret(this.#host, options, (key) => this.secret(key)) };
      case 'tls-creds-x509': {
        const { passwordid } = options;
        const password = passwordid === undefined ? undefined : this.copySecret(passwordid);
        try {
          return { kind: 'tls', settings: await readX509Credentials(this.#host, options, password) };
        } finally {
          if (password !== undefined) this.#host.ciphers.forget(password);
        }
      }
      case 'tls-creds-psk':
        return { kind: 'tls', settings: await readPskCredentials(this.#host, options) };
      case 'throttle-group':
        return { kind: 'throttle-group', group: makeThrottleGroup(this.#host.clock, options) };
      case 'authz-simple':
        return { kind: 'authz', authorizer: simpleAuthorizer(options) };
      case 'authz-list':
        return { kind: 'authz', authorizer: listAuthorizer(options) };
      case 'authz-list-file':
      case 'authz-listfile':
        return { kind: 'authz', authorizer: await listFileAuthorizer(this.#host, options) };
    }
  }
}

function parseObject(input: string | object, suggest: boolean): ObjectOptions {
  const isText = typeof input === 'string' && !input.startsWith('{');
  const options: Record<string, unknown> =
    typeof input !== 'string' ? { ...input } : isText ? parseKeyval(input, 'qom-type') : parseJsonObject(input);
  const type = options['qom-type'];
  if (typeof type === 'string' && MISSING_TYPES.includes(type)) {
    throw new BlockError('unsupported', `Objects of type '${type}' are not supported`);
  }
  if (typeof type === 'string' && /^(secret|tls-creds-)/.test(type)) {
    for (const [name, what] of Object.entries(MISSING_PROPERTIES)) {
      if (options[name] !== undefined) {
        throw new BlockError('unsupported', `Parameter '${name}' is not supported (${what})`);
      }
    }
  }
  return validate('ObjectOptions', options, { strings: isText, suggest });
}
