// Listens at an address.
import { constants } from 'node:os';
import { BlockError } from '../../util/errors.js';
import type { Link, Listener, NetAddress, NumberedAddress } from '../net.js';
import { addressText } from '../net-address.js';
import type { Native } from './binding.js';
import { SocketListener } from './listener.js';
import { errnoNetError, netError, notASocket } from './net-errors.js';
import type { OpenSockets } from './open-sockets.js';
import { resolveHost } from './resolve.js';
import { abstractName, type ListeningFile, listenAtFile } from './socket-file.js';
import type { Sockets } from './sockets.js';

type Accept = (link: Link) => void;
type Inet = Extract<NumberedAddress, { type: 'inet' }>;
interface Place {
  host: string;
  onlyVersion6: boolean;
}
type Unix = Extract<NetAddress, { type: 'unix' }>;

const NOTHING = () => {};
const { EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT } = constants.errno;

/** See `Net.listen`. */
export function startListening(
  sockets: Sockets,
  address: NumberedAddress,
  accept: Accept,
  backlog: number,
  open: OpenSockets,
): Promise<Listener> {
  switch (address.type) {
    case 'unix':
      return listenUnix(sockets, address, accept, backlog, open);
    case 'inet':
      return listenInet(sockets, address, accept, backlog, open);
    case 'fd':
      return listenDescriptor(sockets, address.fd, accept, open);
  }
}

async function listenUnix(
  sockets: Sockets,
  address: Unix,
  accept: Accept,
  backlog: number,
  open: OpenSockets,
): Promise<Listener> {
  const { path, abstract = false, padded = false } = address;
  const { native } = sockets;
  const what = `Failed to bind socket to ${path}`;
  let made: ListeningFile | number;
  try {
    made = abstract
      ? listenAtName(native, abstractName(path, padded), backlog)
      : await listenAtFile(native, path, backlog);
  } catch (error) {
    throw netError(error, what, 'listen', path);
  }
  if (typeof made === 'number') throw errnoNetError(made, what, 'listen', path);
  return new SocketListener(sockets, [made.fd], address, accept, made.remove, open);
}

/** A name in the abstract name space has no file. */
function listenAtName(native: Native, name: Uint8Array, backlog: number): ListeningFile | number {
  const bound = native.bindUnix(name, true);
  const fd = bound < 0 ? bound : native.listenOn(bound, backlog);
  return fd < 0 ? fd : { fd, remove: NOTHING };
}

async function listenInet(
  sockets: Sockets,
  address: Inet,
  accept: Accept,
  backlog: number,
  open: OpenSockets,
): Promise<Listener> {
  const { port, lastPort = port } = address;
  const places = await placesToListen(address);
  let failed = -EADDRINUSE;
  for (let at = port; at <= lastPort && failed === -EADDRINUSE; at++) {
    const made = listenAt(sockets, address, places, at, backlog);
    if (typeof made !== 'number') {
      return new SocketListener(sockets, made.fds, { ...address, port: made.port }, accept, NOTHING, open);
    }
    failed = made;
  }
  const what = failed === -EADDRINUSE ? 'Failed to find an available port' : 'Failed to bind socket';
  throw errnoNetError(failed, what, 'listen', addressText(address));
}

/** Listens at one port, on all places. -errno where that fails. */
function listenAt(
  { native }: Sockets,
  address: Inet,
  places: readonly Place[],
  wanted: number,
  backlog: number,
): { fds: number[]; port: number } | number {
  const fds: number[] = [];
  let port = wanted;
  let failed = 0;
  for (const { host, onlyVersion6 } of places) {
    const fd = native.listenInet(host, port, onlyVersion6, backlog);
    if (fd >= 0) {
      fds.push(fd);
      // All addresses of a name listen at the same port: the one that the system chose for the first.
      if (port === 0) port = portOf(native.nameOfSocket(fd, false));
      if (address.host === '') break;
    } else if (failed === 0 || !isAbsent(fd)) {
      failed = fd;
    }
  }
  if (failed === 0 || (fds.length > 0 && isAbsent(failed))) return { fds, port };
  for (const fd of fds) native.closeSocket(fd);
  return failed;
}

async function listenDescriptor(sockets: Sockets, fd: number, accept: Accept, open: OpenSockets): Promise<Listener> {
  const path = `fd ${fd}`;
  const listens = sockets.native.adoptSocket(fd);
  if (listens < 0) throw notASocket(fd, 'listen');
  if (listens === 0) throw new BlockError('invalid-argument', `${path} does not listen`, { operation: 'listen', path });
  return new SocketListener(sockets, [fd], { type: 'fd', fd }, accept, NOTHING, open);
}

/** The addresses to listen at. An empty host means all addresses: the first of the list that the machine has. */
async function placesToListen({ host, port, family }: Inet): Promise<Place[]> {
  if (host !== '')
    return (await resolveHost(host, port, family ?? 0)).map((one) => ({ host: one, onlyVersion6: true }));
  const all4 = { host: '0.0.0.0', onlyVersion6: false };
  if (family === 4) return [all4];
  return family === 6 ? [{ host: '::', onlyVersion6: true }] : [{ host: '::', onlyVersion6: false }, all4];
}

/** True where the machine does not have the address that a host name resolved to. */
function isAbsent(errno: number): boolean {
  return errno === -EADDRNOTAVAIL || errno === -EAFNOSUPPORT;
}

function portOf(name: string): number {
  return Number(name.slice(name.lastIndexOf(':') + 1));
}
