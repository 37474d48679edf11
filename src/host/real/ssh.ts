// SSH by the package ssh2, which is loaded when the first image is opened over it.

import type { Socket } from 'node:net';
import { BlockError } from '../../util/errors.js';
import { addressText } from '../net-address.js';
import type { SftpSession, Ssh, SshSettings } from '../ssh.js';
import { loadOptional } from './binding.js';
import { netError } from './net-errors.js';
import { resolveHost } from './resolve.js';
import { RealSftp } from './sftp.js';
import { lostError } from './ssh-errors.js';
import { Identities, userHome } from './ssh-identities.js';
import type { Ssh2 } from './ssh2.js';

const SYSTEM_KNOWN_HOSTS = '/etc/ssh/ssh_known_hosts';
/** Types of host keys, the best first. Of DSA there is none. */
const KEY_TYPES = [
  ...['ssh-ed25519', 'ecdsa-sha2-nistp256', 'ecdsa-sha2-nistp384', 'ecdsa-sha2-nistp521'],
  ...['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'],
];
/** A server that says nothing is asked whether it is there; after so many questions without an answer the connection is lost. */
const ALIVE_INTERVAL_MS = 15_000;
const ALIVE_QUESTIONS = 3;

export class RealSsh implements Ssh {
  userName(): string {
    return process.getBuiltinModule('node:os').userInfo().username;
  }

  knownHosts(): readonly string[] {
    return [`${userHome()}/.ssh/known_hosts`, SYSTEM_KNOWN_HOSTS];
  }

  async connect(settings: SshSettings): Promise<SftpSession> {
    const ssh2 = loadOptional<Ssh2>('ssh2');
    if (ssh2 === null) {
      throw new BlockError(
        'unsupported',
        'The package ssh2, which images are reached with over SSH, is not installed',
        {
          operation: 'open',
          hint: 'npm install ssh2',
        },
      );
    }
    const socket = await connectSocket(settings);
    return logIn(ssh2, settings, socket);
  }
}

/** Connects to the first address of the host that answers. */
async function connectSocket({ address, timeoutMs }: SshSettings): Promise<Socket> {
  const text = addressText(address);
  const fail = (error: unknown) => netError(error, `Failed to connect to '${text}'`, 'connect', text);
  const found = await resolveHost(address.host === '' ? 'localhost' : address.host, address.port, address.family ?? 0);
  let failure: unknown;
  for (const host of found) {
    try {
      return await connectTo(host, address.port, timeoutMs, address.keepAlive ?? false);
    } catch (error) {
      failure = error;
    }
  }
  throw fail(failure);
}

function connectTo(host: string, port: number, timeoutMs: number, keepAlive: boolean): Promise<Socket> {
  const { connect } = process.getBuiltinModule('node:net');
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true, keepAlive });
    const fail = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.once('error', fail);
    socket.setTimeout(timeoutMs, () => fail(Object.assign(new Error('no answer in time'), { code: 'ETIMEDOUT' })));
    socket.once('connect', () => {
      socket.setTimeout(0);
      socket.removeListener('error', fail);
      resolve(socket);
    });
  });
}

function logIn(ssh2: Ssh2, settings: SshSettings, socket: Socket): Promise<SftpSession> {
  const { address, user, keyTypes, timeoutMs } = settings;
  const text = addressText(address);
  const client = new ssh2.Client();
  const identities = new Identities(ssh2, user);
  return new Promise((resolve, reject) => {
    let refused: unknown;
    const fail = (error: Error & { level?: string }): void => {
      // An agent that does not answer, or a key that cannot sign: the next one is tried.
      if (error.level === 'agent') return;
      socket.destroy();
      if (refused !== undefined) reject(refused);
      else if (error.level === 'client-authentication') reject(identities.refusal(text));
      else reject(lostError(error, text));
    };
    client.on('error', fail);
    client.on('close', () => fail(new Error('the server closed the connection')));
    client.once('ready', () => {
      client.sftp((error, sftp) => {
        if (error !== undefined) return fail(error);
        client.removeAllListeners('close');
        client.removeAllListeners('error');
        resolve(new RealSftp(client, sftp, socket, text));
      });
    });
    try {
      client.connect({
        sock: socket,
        username: user,
        readyTimeout: timeoutMs,
        keepaliveInterval: ALIVE_INTERVAL_MS,
        keepaliveCountMax: ALIVE_QUESTIONS,
        algorithms: { serverHostKey: inOrder(keyTypes) },
        authHandler: (methods, _, next) => next(identities.next(methods)),
        hostVerifier: (key, verify) => {
          try {
            settings.checkKey(key);
            verify(true);
          } catch (error) {
            refused = error;
            verify(false);
          }
        },
      });
    } catch (error) {
      fail(error as Error);
    }
  });
}

/** All types, those of keys that are known first. */
function inOrder(known: readonly string[]): string[] {
  // RSA keys have one type, and sign in several ways.
  const isKnown = (type: string) => known.includes(type.startsWith('rsa-') ? 'ssh-rsa' : type);
  return [...KEY_TYPES.filter(isKnown), ...KEY_TYPES.filter((type) => !isKnown(type))];
}
