// What the options of an NBD client do: against our own server on the simulated net, or as the address that is called.

import { expect } from 'chai';
import type { NbdNode } from '../../../src/drivers/protocols/nbd/driver.js';
import type { NetAddress } from '../../../src/host/net.js';
import { Workspace } from '../../../src/library/workspace.js';
import { BlockError } from '../../../src/util/errors.js';
import { stateOf } from '../../block/support.js';
import { type Bench, makeBench } from '../../drivers/support.js';
import { type Effects, opened, outcome, refusedOpen, SIZE } from './kit.js';

const SOCKET = { type: 'unix', path: '/s' };
const inet = (own: object = {}) => ({ type: 'inet', host: '127.0.0.1', port: '10809', ...own });

/** A server for the export `disk`, and a bench on the same net. Time stands still until the test moves it. */
async function served(): Promise<Bench> {
  const bench = makeBench({ manualClock: true });
  const space = new Workspace(bench.host);
  await space.serve(await space.open({ driver: 'null-co', size: SIZE }), { path: '/s', name: 'disk' });
  return bench;
}

const client = (own: object = {}) => ({ driver: 'nbd', server: SOCKET, export: 'disk', ...own });

/** Which address is called for `server`; or why none is. */
async function called(server: object): Promise<NetAddress | string> {
  const bench = makeBench();
  let seen: NetAddress | null = null;
  bench.host.net.connect = async (address) => {
    seen = address;
    throw new BlockError('io', 'nobody is there');
  };
  const why = await outcome(opened(bench, { driver: 'nbd', server }));
  return seen ?? why;
}

/** How long opening tries to reach a server that is not there. */
async function msOfOpen(own: object): Promise<number> {
  const bench = makeBench();
  const start = bench.host.clock.now();
  expect(await outcome(opened(bench, client(own)))).to.not.equal('');
  return bench.host.clock.now() - start;
}

/** What becomes of a request within `ms` after the server went away. */
async function stateAfter(ms: number, own: object): Promise<string> {
  const bench = await served();
  const node = await opened(bench, client(own));
  bench.host.net.connect = async () => {
    throw new BlockError('io', 'nobody is there');
  };
  bench.host.net.cut();
  await stateOf(Promise.resolve());
  const reading = node.read(0, new Uint8Array(512));
  await stateOf(reading);
  await bench.host.advance(ms);
  return stateOf(reading);
}

export const nbd: Effects = {
  'BlockdevOptionsNbd.server': [
    'is where the export is',
    async () => expect(await called(SOCKET)).to.deep.equal({ type: 'unix', path: '/s' }),
  ],
  'SocketAddress.type': [
    'decides how it is reached',
    async () => expect(await called({ type: 'fd', str: '3' })).to.have.property('type', 'fd'),
  ],
  'UnixSocketAddress.path': [
    'is the path of the socket',
    async () => expect(await called(SOCKET)).to.have.property('path', '/s'),
  ],
  'UnixSocketAddress.abstract': [
    'makes the path a name without a file',
    async () => expect(await called({ ...SOCKET, abstract: true })).to.have.property('abstract', true),
  ],
  'UnixSocketAddress.tight': [
    'makes an abstract name fill the address, where it is off',
    async () => {
      expect(await called({ ...SOCKET, abstract: true, tight: false })).to.have.property('padded', true);
      expect(await called({ ...SOCKET, tight: false })).not.to.have.property('padded');
    },
  ],
  'FdSocketAddress.str': [
    'is the number of the descriptor, or the name that it was passed under',
    async () => {
      expect(await called({ type: 'fd', str: '7' })).to.deep.equal({ type: 'fd', fd: 7 });
      expect(await called({ type: 'fd', str: 'seven' })).to.deep.equal({ type: 'named-fd', name: 'seven' });
      expect(await called({ type: 'fd', str: '7x' })).to.deep.equal({ type: 'named-fd', name: '7x' });
    },
  ],
  'InetSocketAddress.host': [
    'is the host',
    async () => expect(await called(inet({ host: 'disks.example' }))).to.have.property('host', 'disks.example'),
  ],
  'InetSocketAddress.port': [
    'is the port',
    async () => {
      expect(await called(inet({ port: '1' }))).to.have.property('port', 1);
      expect(await called(inet({ port: 'nbd' }))).to.have.property('port', 'nbd');
      expect(await called(inet({ port: '65536' }))).to.match(/:65536: Servname not supported/);
    },
  ],
  'InetSocketAddress.to': [
    'is the last port to listen at',
    async () => expect(await called(inet({ to: 7 }))).to.have.property('lastPort', 7),
  ],
  'InetSocketAddress.numeric': [
    'refuses names',
    async () => {
      expect(await called(inet({ host: 'disks.example', numeric: true }))).to.match(
        /disks.example:\d+: Name or service not known/,
      );
      expect(await called(inet({ numeric: true }))).to.have.property('host', '127.0.0.1');
    },
  ],
  'InetSocketAddress.ipv4': [
    'wants IPv4, or excludes it',
    async () => {
      expect(await called(inet({ ipv4: true }))).to.have.property('family', 4);
      expect(await called(inet({ ipv4: false }))).to.have.property('family', 6);
    },
  ],
  'InetSocketAddress.ipv6': [
    'wants IPv6, or excludes it',
    async () => {
      expect(await called(inet({ ipv6: true }))).to.have.property('family', 6);
      expect(await called(inet({ ipv6: false, ipv4: false }))).to.match(/Cannot disable IPv4 and IPv6/);
    },
  ],
  'InetSocketAddress.keep-alive': [
    'has the system look whether the peer is alive',
    async () => expect(await called(inet({ 'keep-alive': true }))).to.have.property('keepAlive', true),
  ],
  'BlockdevOptionsNbd.export': [
    'is the name of the export',
    async () => {
      expect((await opened(await served(), client())).length).to.equal(SIZE);
      await refusedOpen(await served(), client({ export: 'other' }), /'other'/);
    },
  ],
  'BlockdevOptionsNbd.tls-creds': [
    'names the object with the credentials',
    async () => refusedOpen(await served(), client({ 'tls-creds': 'none' }), /none/),
  ],
  'BlockdevOptionsNbd.tls-hostname': [
    'is refused where there is no TLS',
    async () => refusedOpen(await served(), client({ 'tls-hostname': 'h' }), /tls-hostname needs tls-creds/),
  ],
  'BlockdevOptionsNbd.x-dirty-bitmap': [
    'asks the server for that bitmap',
    async () => refusedOpen(await served(), client({ 'x-dirty-bitmap': 'qemu:dirty-bitmap:b' }), /qemu:dirty-bitmap:b/),
  ],
  'BlockdevOptionsNbd.reconnect-delay': [
    'is how long requests wait for a server that went away',
    async () => {
      expect(await stateAfter(1000, {})).to.equal('rejected');
      expect(await stateAfter(4900, { 'reconnect-delay': 5 })).to.equal('pending');
      expect(await stateAfter(6000, { 'reconnect-delay': 5 })).to.equal('rejected');
    },
  ],
  'BlockdevOptionsNbd.open-timeout': [
    'is how long opening waits for a server',
    async () => {
      expect(await msOfOpen({})).to.be.lessThan(1000);
      expect(await msOfOpen({ 'open-timeout': 3 })).to.be.within(3000, 4000);
    },
  ],
  'BlockdevOptionsNbd.x-multi-conn': [
    'is the number of connections',
    async () => {
      const node = (await opened(await served(), client({ 'x-multi-conn': 3 }))) as NbdNode;
      await Promise.all(Array.from({ length: 64 }, () => node.read(0, new Uint8Array(SIZE / 2))));
      expect(node.connections).to.equal(3);
      await refusedOpen(await served(), client({ 'x-multi-conn': 17 }), /must be from 1 to 16/);
    },
  ],
};
