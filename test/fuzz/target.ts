// The server that is attacked, in a process of its own: a crash, its memory and its pauses are seen from outside.
//   fork target.ts FOLDER -> { ready }      'stats' -> Stats      'close' -> ends with status 0

import { join } from 'node:path';
import { DirtyBitmap } from '../../src/block/bitmap.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { NbdServer } from '../../src/exports/nbd/server.js';
import { openRealHost } from '../../src/host/real/index.js';

export interface Stats {
  connections: number;
  bytesInFlight: number;
  /** After a collection of garbage. */
  heapBytes: number;
  residentBytes: number;
}

const collect = (globalThis as { gc?: () => void }).gc as () => void;
const send = (message: object) => void process.send?.(message);

async function main(folder: string): Promise<void> {
  registerDrivers();
  const host = await openRealHost();
  const graph = new Graph(host);
  const devices: Device[] = [];
  const open = async (file: string, format: string, readOnly: boolean) => {
    const node = await openNode(graph, join(folder, file), { format, readOnly, discard: 'unmap' });
    const device = new Device(node, { name: file, writable: !readOnly });
    devices.push(device);
    return device;
  };
  // Short limits: a client that says nothing is sent away while the test looks.
  const server = new NbdServer(host, {
    maxConnections: 64,
    handshakeTimeoutMs: 2000,
    budget: { connectionBytes: 8 << 20, totalBytes: 64 << 20, guaranteedBytes: 1 << 20 },
  });
  const fuzzed = await open('fuzzed.qcow2', 'qcow2', false);
  rootOf(fuzzed).node.bitmaps.set('changes', new DirtyBitmap({ name: 'changes', size: fuzzed.length }));
  server.addExport(fuzzed, { name: 'fuzzed', bitmaps: ['changes'], allocationDepth: true });
  server.addExport(await open('sized.qcow2', 'qcow2', false), { name: 'sized', resize: true });
  server.addExport(await open('fixed.qcow2', 'qcow2', true), { name: 'fixed', allocationDepth: true });
  server.addExport(await open('good.raw', 'raw', true), { name: 'good' });
  await server.listen({ type: 'unix', path: join(folder, 'nbd.sock') });
  const secure = new NbdServer(host, {
    handshakeTimeoutMs: 2000,
    tls: { side: 'server', kind: 'psk', verifyPeer: false, keys: new Map([['alice', new Uint8Array(32).fill(7)]]) },
  });
  secure.addExport(await open('secret.qcow2', 'qcow2', false), { name: 'secret' });
  await secure.listen({ type: 'unix', path: join(folder, 'tls.sock') });

  process.on('message', async (message) => {
    if (message === 'stats') {
      collect();
      const { heapUsed, rss } = process.memoryUsage();
      const connections = server.connectionCount + secure.connectionCount;
      const bytesInFlight = server.bytesInFlight + secure.bytesInFlight;
      send({ connections, bytesInFlight, heapBytes: heapUsed, residentBytes: rss } satisfies Stats);
    } else {
      await Promise.all([server.close(), secure.close()]);
      for (const device of devices) {
        const { node } = rootOf(device);
        await device.close();
        await graph.release(node);
      }
      await host.close();
      process.disconnect();
    }
  });
  send({ ready: true });
}

await main(process.argv[2]);
