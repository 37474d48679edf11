// What is demanded of a server's key, and the check.

import type { Graph } from '../../../block/graph.js';
import { digestOf } from '../../../host/digest.js';
import type { Host } from '../../../host/host.js';
import type { SshHostKeyCheck, SshHostKeyHash } from '../../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { KnownHosts, keyType, serverName, type Verdict } from './known-hosts.js';

/** Of a file of known hosts so much is read: a hundred thousand lines. */
const MOST_KNOWN_BYTES = 16 << 20;

export interface KeyCheck {
  /** Types of keys that the server is to show first. */
  readonly types: readonly string[];
  /** Throws `permission`. */
  check(key: Uint8Array): void;
}

/** Rejects where a file of known hosts cannot be read. */
export async function keyCheckFor(
  { host: local }: Graph,
  { host, port }: { host: string; port: number },
  wanted: SshHostKeyCheck = { mode: 'known_hosts' },
): Promise<KeyCheck> {
  switch (wanted.mode) {
    case 'none':
      return { types: [], check: () => undefined };
    case 'hash':
      return { types: [], check: (key) => checkHash(key, wanted) };
    case 'known_hosts': {
      const texts = await Promise.all(local.ssh.knownHosts().map((path) => readKnown(local, path)));
      const known = new KnownHosts(texts, serverName(host, port));
      return { types: known.types, check: (key) => checkKnown(key, known.verdict(key)) };
    }
  }
}

/** Who has no such file knows no servers. */
async function readKnown(local: Host, path: string): Promise<string> {
  try {
    return new TextDecoder('latin1').decode(await local.readSmall(path, MOST_KNOWN_BYTES));
  } catch (error) {
    if (toBlockError(error).code === 'not-found') return '';
    throw error;
  }
}

function checkHash(key: Uint8Array, { type, hash }: SshHostKeyHash): void {
  const found = digestOf(type, key).toString('hex');
  // QEMU's words have the digits as they were given.
  if (found === hash.replaceAll(':', '').toLowerCase()) return;
  const server = `remote host ${keyType(key)} key fingerprint '${type}:${found}'`;
  throw refused(`${server} does not match host_key_check '${type}:${hash}'`);
}

function checkKnown(key: Uint8Array, verdict: Verdict): void {
  const fingerprint = `SHA256:${digestOf('sha256', key).toString('base64').replace(/=+$/, '')}`;
  const about = `${keyType(key)} key with fingerprint ${fingerprint}`;
  switch (verdict) {
    case 'known':
      return;
    case 'changed':
      throw refused(`host key (${about}) does not match the one in known_hosts; this may be a possible attack`);
    case 'revoked':
      throw refused(`host key (${about}) is revoked in known_hosts`);
    case 'other-type':
      throw refused('host key for this server not found, another type exists');
    case 'unknown':
      throw refused(
        'no host key was found in known_hosts',
        `The server has a ${about}. 'ssh' asks whether that is right, and remembers it.`,
      );
  }
}

function refused(why: string, hint?: string): BlockError {
  return new BlockError('permission', why, { operation: 'open', hint });
}
