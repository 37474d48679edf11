// Addresses as the schema has them, for the host.

import type { NetAddress } from '../host/net.js';
import type { SocketAddress, SocketAddressLegacy } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';

/** Throws `invalid-argument` with QEMU's words. */
export function netAddressOf(address: SocketAddress): NetAddress {
  switch (address.type) {
    case 'unix':
      if (address.path === '') throw invalid('A UNIX socket needs a path');
      return {
        type: 'unix',
        path: address.path,
        ...(address.abstract === true && { abstract: true, ...(address.tight === false && { padded: true }) }),
      };
    case 'fd':
      if (/^\d{1,9}$/.test(address.str)) return { type: 'fd', fd: Number(address.str) };
      return { type: 'named-fd', name: address.str };
    case 'inet': {
      const { host, to, 'keep-alive': keepAlive } = address;
      const unresolved = (why: string) => invalid(`address resolution failed for ${host}:${address.port}: ${why}`);
      const port = portOf(address.port);
      const named = typeof port === 'string';
      if (!named && port > 65535) throw unresolved('Servname not supported for ai_socktype');
      if (address.numeric === true && (named || !/^[0-9.]+$|:/.test(host)))
        throw unresolved('Name or service not known');
      const family = familyOf(address.ipv4, address.ipv6);
      return {
        type: 'inet',
        host,
        port,
        ...(to !== undefined && { lastPort: to }),
        ...(family !== undefined && { family }),
        ...(keepAlive === true && { keepAlive }),
      };
    }
  }
}

/** An address without the level that the older shape has more. */
export function flatAddress(address: SocketAddressLegacy): SocketAddress {
  return { type: address.type, ...address.data } as SocketAddress;
}

/** Figures are a port; nothing is any; the rest is the name of a service. */
function portOf(text: string): number | string {
  return /^\d*$/.test(text) ? Number(text) : text;
}

/** What is left out is the opposite of the other one. */
function familyOf(ipv4: boolean | undefined, ipv6: boolean | undefined): 4 | 6 | undefined {
  if (ipv4 === false && ipv6 === false) throw invalid('Cannot disable IPv4 and IPv6 at same time');
  if (ipv4 === ipv6) return undefined;
  if (ipv4 === true || ipv6 === false) return 4;
  return 6;
}

function invalid(message: string): BlockError {
  return new BlockError('invalid-argument', message);
}
