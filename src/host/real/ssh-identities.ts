// The keys that a user logs in with: those of the agent, then the files in the home folder, as libssh tries them.

import { readFileSync } from 'node:fs';
import { BlockError } from '../../util/errors.js';
import type { Ssh2, Ssh2Attempt, Ssh2Key } from './ssh2.js';

const FILES = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

/** HOME, else what the system has of the user. */
export function userHome(): string {
  return process.getBuiltinModule('node:os').homedir();
}

export class Identities {
  readonly #ssh2: Ssh2;
  readonly #user: string;
  readonly #left: (() => Ssh2Attempt | null)[];
  /** Files that have a passphrase: they cannot be used here. */
  readonly #locked: string[] = [];

  constructor(ssh2: Ssh2, user: string) {
    this.#ssh2 = ssh2;
    this.#user = user;
    const agent = process.env['SSH_AUTH_SOCK'];
    this.#left = [
      // What the server takes is the answer to that.
      () => ({ type: 'none', username: user }),
      () => (agent ? { type: 'agent', username: user, agent } : null),
      ...FILES.map((name) => () => this.#fromFile(`${userHome()}/.ssh/${name}`)),
    ];
  }

  /** What is to be tried next; false: nothing is left. `methods`: what the server takes; null where it has not said so yet. */
  next(methods: readonly string[] | null): Ssh2Attempt | false {
    const takesKeys = methods === null || methods.includes('publickey');
    while (takesKeys && this.#left.length > 0) {
      const attempt = this.#left.shift()!();
      if (attempt !== null) return attempt;
    }
    return false;
  }

  /** Why the user could not log in. */
  refusal(server: string): BlockError {
    const why = 'failed to authenticate using publickey authentication and the identities held by your ssh-agent';
    const [locked] = this.#locked;
    const hint =
      locked === undefined ? undefined : `${locked} has a passphrase: hand it to your agent with 'ssh-add ${locked}'`;
    return new BlockError('permission', why, { operation: 'log in', path: server, hint });
  }

  #fromFile(path: string): Ssh2Attempt | null {
    let text: Buffer;
    try {
      text = readFileSync(path);
    } catch {
      // Nobody has all kinds of keys.
      return null;
    }
    const parsed = this.#ssh2.utils.parseKey(text);
    const key: Ssh2Key | Error = Array.isArray(parsed) ? parsed[0] : parsed;
    if (key instanceof Error) {
      if (/encrypted/i.test(key.message)) this.#locked.push(path);
      return null;
    }
    return key.isPrivateKey() ? { type: 'publickey', username: this.#user, key } : null;
  }
}
