// Addresses of sockets as people write them, and as messages name them.
import type { NetAddress } from './net.js';

/** The address as QEMU's messages print it: `/run/a.sock`, `localhost:10809`, `[::1]:10809`, `fd 3`. */
export function addressText(address: NetAddress): string {
  switch (address.type) {
    case 'unix':
      return address.path;
    case 'inet':
      return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'fd':
      return `fd ${address.fd}`;
    case 'named-fd':
      return `fd ${address.name}`;
  }
}

/** The address as `Link.peer`: a UNIX socket's path begins with `unix:`. */
export function peerText(address: NetAddress): string {
  return address.type === 'unix' ? `unix:${address.path}` : addressText(address);
}
