// A TCP port of this host for a server that has to be told one.

import { type AddressInfo, createServer } from 'node:net';

/** Nobody listens at it now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
