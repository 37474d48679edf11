// The certificates that are trusted: node's own, and the system's. To read them takes a tenth of a second, so it is done once, and only where TLS is used.

import { existsSync, readFileSync, statSync } from 'node:fs';
import type { SecureContext } from 'node:tls';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { nodeTls } from '../tls-context.js';

/** Where Debian, and most others, keep the certificates that the system trusts; SSL_CERT_FILE names another file. */
const SYSTEM_CERTIFICATES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt'];
const CERTIFICATE = /-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----[^-]+-----END \1CERTIFICATE-----/g;

/** What was made last, and of which state of which file. */
let kept: { source: string; context: SecureContext } | null = null;

/** Throws `invalid-argument`, with the name of the variable, where SSL_CERT_FILE names no file with certificates. */
export function trust(environment: NodeJS.ProcessEnv): SecureContext {
  const named = environment['SSL_CERT_FILE'] || undefined;
  const path = named ?? SYSTEM_CERTIFICATES.find((file) => existsSync(file));
  try {
    const source = path === undefined ? '' : stateOf(path);
    if (kept?.source !== source) kept = { source, context: make(path) };
    return kept.context;
  } catch (cause) {
    const which = named === undefined ? `'${path}'` : `'${path}', which SSL_CERT_FILE names,`;
    const why = `Certificates of ${which} cannot be read: ${toBlockError(cause).reason}`;
    throw new BlockError('invalid-argument', why, { operation: 'open', cause });
  }
}

function stateOf(path: string): string {
  const { dev, ino, size, mtimeMs } = statSync(path);
  return JSON.stringify([path, dev, ino, size, mtimeMs]);
}

function make(path: string | undefined): SecureContext {
  // Most are in both lists.
  const all = new Set<string>(nodeTls().rootCertificates);
  if (path !== undefined) {
    const found = readFileSync(path, 'utf8').match(CERTIFICATE);
    if (found === null) throw new BlockError('invalid-argument', 'there are none in it');
    for (const one of found) all.add(one);
  }
  return nodeTls().createSecureContext({ ca: [...all] });
}
