// Makes the connection that a request goes over, with TLS or without.

import type { Socket } from 'node:net';
import type { buildConnector } from 'undici';
import type { HttpSettings } from '../../http.js';
import { connectError } from './errors.js';
import { trust } from './trust.js';

type Undici = typeof import('undici');
export type Connector = buildConnector.connector;
/** Undici's own return the socket at once, which their type does not say. */
type MakeSocket = (...parameters: Parameters<Connector>) => Socket;

/** Bytes that are taken of a connection at once: by default these are 64 KiB, and each time costs several turns of the stream. */
const READ_BYTES = 256 << 10;

/** A connector whose errors are those of `connectError`. `connecting` holds the sockets that are not connected yet. */
export function makeConnector(
  { buildConnector: build }: Undici,
  { timeoutMs, verify }: HttpSettings,
  environment: NodeJS.ProcessEnv,
  connecting: Set<Socket>,
): Connector {
  const connectorOf = (options: object) =>
    build({ timeout: timeoutMs, ...options } as buildConnector.BuildOptions) as unknown as MakeSocket;
  const plain: MakeSocket = (options, done) => {
    const onread = {
      // What is taken waits for its reader: the next bytes need memory of their own.
      buffer: () => Buffer.allocUnsafeSlow(READ_BYTES),
      callback: (length: number, bytes: Uint8Array) => socket.push(bytes.subarray(0, length)),
    };
    const socket: Socket = connectorOf({ highWaterMark: READ_BYTES, onread })(options, done);
    return socket;
  };
  // One for all connections: it keeps the sessions, which later handshakes go on with.
  let secure: MakeSocket | null = null;
  const secured: MakeSocket = (options, done) => {
    secure ??= connectorOf({ secureContext: verify ? trust(environment) : undefined, rejectUnauthorized: verify });
    return secure(options, done);
  };
  return (options, done) => {
    let socket: Socket | null = null;
    const ended: buildConnector.Callback = (error, connected) => {
      if (socket !== null) connecting.delete(socket);
      if (error === null) done(null, connected!);
      else done(connectError(error, options.host ?? options.hostname), null);
    };
    try {
      socket = (options.protocol === 'https:' ? secured : plain)(options, ended);
      connecting.add(socket);
    } catch (error) {
      ended(error as Error, null);
    }
  };
}
