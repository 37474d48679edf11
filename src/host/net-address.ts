// Addresses of sockets as people write them, and as messages name them.
import type { NetAddress } from './net.js';

/** As QEMU's messages have it: `/run/a.sock`, `localhost:10809`, `[::1]:10809`, `fd 3`. */
export function addressText(address: NetAddress): string {
  switch (address.type) {
    case 'unix':
      return address.path;
    case 'inet':
      return `${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
    case 'fd':
      return `fd ${address.fd}`;
  }
}

/** As `Link.peer` has it: a UNIX socket's path has `unix:` before it. */
export function peerText(address: NetAddress): string {
  return address.type === 'unix' ? `unix:${address.path}` : addressText(address);
}
