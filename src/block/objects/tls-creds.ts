// Credentials for TLS, from a folder with files of fixed names:
//
//   x509   ca-cert.pem              both sides        server-cert.pem, server-key.pem   server
//          ca-crl.pem (optional)    server            client-cert.pem, client-key.pem   client, both or none
//   psk    keys.psk                 lines of name:key in hexadecimal digits

import type { Host } from '../../host/host.js';
import type { TlsSettings } from '../../host/net.js';
import { decryptKey, isEncryptedKey } from '../../host/private-key.js';
import type { TlsCredsPskProperties, TlsCredsX509Properties } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';

const MAX_FILE_BYTES = 1 << 20;
const DEFAULT_USERNAME = 'qemu';

/** `password`: of this side's key; it is not kept. Rejects with `invalid-argument`, `not-found`, `permission`, `limit`. */
export async function readX509Credentials(
  host: Host,
  { dir, endpoint: side = 'client', 'verify-peer': verifyPeer = true }: TlsCredsX509Properties,
  password: Uint8Array | undefined,
): Promise<TlsSettings> {
  const folder = checkFolder(dir);
  const required = (name: string) => readCredentials(host, `${folder}/${name}`);
  const optional = (name: string) => required(name).catch(absentIsNothing);
  const settings: TlsSettings = { side, kind: 'x509', verifyPeer, ca: await required('ca-cert.pem') };
  if (!holdsPem(settings.ca!, 'CERTIFICATE')) {
    throw invalid(`Unable to import CA certificate list ${folder}/ca-cert.pem`, `${folder}/ca-cert.pem`);
  }
  if (side === 'server') {
    settings.crl = await optional('ca-crl.pem');
    settings.cert = await required('server-cert.pem');
    settings.key = await required('server-key.pem');
  } else {
    settings.cert = await optional('client-cert.pem');
    settings.key = await optional('client-key.pem');
    if ((settings.cert === undefined) !== (settings.key === undefined)) {
      const missing = settings.cert === undefined ? 'client-cert.pem' : 'client-key.pem';
      throw new BlockError(
        'not-found',
        `Unable to access credentials ${folder}/${missing}: No such file or directory`,
        {
          path: `${folder}/${missing}`,
        },
      );
    }
  }
  const { key } = settings;
  if (key !== undefined && isEncryptedKey(key)) settings.key = openKey(key, password, `${folder}/${side}`);
  return settings;
}

/** Throws `invalid-argument`. `names`: of certificate and key, as far as they are the same. */
function openKey(key: Uint8Array, password: Uint8Array | undefined, names: string): Uint8Array {
  const path = `${names}-key.pem`;
  const message = `Cannot load certificate '${names}-cert.pem' & key '${path}': Decryption has failed.`;
  if (password === undefined) throw invalid(message, path);
  try {
    return decryptKey(key, password);
  } catch (cause) {
    throw new BlockError('invalid-argument', message, { path, cause });
  }
}

/** Rejects with `invalid-argument`, `not-found`, `permission`, `limit`. */
export async function readPskCredentials(
  host: Host,
  { dir, endpoint: side = 'client', username, 'verify-peer': verifyPeer = true }: TlsCredsPskProperties,
): Promise<TlsSettings> {
  if (side === 'server' && username !== undefined) {
    throw new BlockError('invalid-argument', 'username should not be set when endpoint=server');
  }
  const path = `${checkFolder(dir)}/keys.psk`;
  const keys = parseKeys(new TextDecoder().decode(await readCredentials(host, path)), path);
  if (side === 'server') return { side, kind: 'psk', verifyPeer, keys };
  const name = username ?? DEFAULT_USERNAME;
  const key = keys.get(name);
  if (key === undefined) throw invalid(`Username ${name} not found in PSK file ${path}`, path);
  return { side, kind: 'psk', verifyPeer, username: name, keys: new Map([[name, key]]) };
}

/** Names that occur twice have the first key. */
function parseKeys(text: string, path: string): Map<string, Uint8Array> {
  const keys = new Map<string, Uint8Array>();
  for (const [index, line] of text.split('\n').entries()) {
    const entry = line.trim();
    if (entry === '' || entry.startsWith('#')) continue;
    const colon = entry.lastIndexOf(':');
    const digits = entry.slice(colon + 1);
    // The error does not quote the line: it holds a key.
    if (colon < 1 || digits === '' || !/^([0-9a-f]{2})*$/i.test(digits)) {
      const why = `line ${index + 1} is not of the form NAME:KEY with a key in hexadecimal digits`;
      throw BlockError.at(path, 'invalid-argument', why);
    }
    const name = entry.slice(0, colon);
    if (!keys.has(name)) keys.set(name, new Uint8Array(Buffer.from(digits, 'hex')));
  }
  return keys;
}

function checkFolder(dir: string | undefined): string {
  if (dir === undefined || dir === '') throw new BlockError('invalid-argument', "Missing 'dir' property value");
  return dir.replace(/\/+$/, '');
}

async function readCredentials(host: Host, path: string): Promise<Uint8Array> {
  try {
    return await host.readSmall(path, MAX_FILE_BYTES);
  } catch (cause) {
    const { code, message } = toBlockError(cause);
    const reason = code === 'not-found' ? 'No such file or directory' : message;
    throw new BlockError(code, `Unable to access credentials ${path}: ${reason}`, { path, operation: 'open', cause });
  }
}

function absentIsNothing(error: unknown): undefined {
  if (error instanceof BlockError && error.code === 'not-found') return undefined;
  throw error;
}

function holdsPem(file: Uint8Array, label: string): boolean {
  return new TextDecoder().decode(file).includes(`-----BEGIN ${label}-----`);
}

function invalid(message: string, path: string): BlockError {
  return new BlockError('invalid-argument', message, { path });
}
