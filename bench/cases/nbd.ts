// NBD over a UNIX socket: requests a second and the server's CPU, beside qemu-nbd, qemu-storage-daemon and nbdkit. Each run has a
// server of its own, which is loaded for half a second before it is measured: servers live long.

import type { DataSet } from '../lib/data.js';
import type { Case, Contender } from '../lib/measure.js';
import { type Disk, type Load, loaded, ourServer, PEERS, type ServerKind, startServer, warmCache } from '../lib/nbd.js';
import { nbdCopyCases } from './nbd-copy.js';
import { allocatedImages } from './random.js';

/** Aims against `qemu-nbd io_uring`; against the others it is enough to be ahead. */
const READ_AIM = 1.5;
const FORMAT_AIM = 1 / 1.15;

interface Shape extends Omit<Load, 'seconds'> {
  format: Disk['format'];
  direct: boolean;
}

function* shapes(): Generator<Shape> {
  for (const direct of [false, true]) {
    for (const format of ['raw', 'qcow2'] as const) {
      for (const write of [false, true]) {
        const random = { format, direct, write, sequential: false, blockBytes: 4096 };
        for (const depth of [1, 32]) yield { ...random, depth, client: 'nbdload' };
        if (!direct) for (const depth of [1, 32]) yield { ...random, depth, client: 'fio' };
        yield { format, direct, write, sequential: true, blockBytes: 1 << 20, depth: 8, client: 'nbdload' };
      }
    }
  }
}

function nameOf(shape: Shape): string {
  const operation = `${shape.write ? 'write' : 'read'}${shape.sequential ? '1m' : '4k'}`;
  return ['nbd', shape.format, operation, `d${shape.depth}`, shape.direct ? 'direct' : 'hot', shape.client].join('.');
}

export function nbdCases(data: DataSet, cli: readonly string[], quick: boolean): Case[] {
  const images = allocatedImages(data);
  // Many short runs in turns tell more on a machine that others use, too, than few long ones.
  const seconds = quick ? 0.5 : 1;
  const us = ourServer(cli);

  const contender = (kind: ServerKind, shape: Shape, name = kind.name, aim?: number): Contender => {
    const disk = { path: images[shape.format], format: shape.format, direct: shape.direct };
    return {
      name,
      ...(aim === undefined ? {} : { aim }),
      // The page cache holds the whole image, also after a run that went past it.
      prepare: () => (shape.direct ? undefined : warmCache(disk.path)),
      run: async () => {
        const server = await startServer(data.folder, kind, disk);
        try {
          return loaded(data.folder, server, { ...shape, seconds });
        } finally {
          await server.end();
        }
      },
    };
  };

  const against = [...shapes()].map((shape): Case => {
    const peers = PEERS.filter((kind) => kind.suits({ path: '', ...shape }));
    const reads = !shape.write && shape.depth === 32 && !shape.direct;
    return {
      name: nameOf(shape),
      bytes: 0,
      aim: 1,
      ours: contender(us, shape),
      peers: peers.map((kind, i) => contender(kind, shape, kind.name, reads && i === 0 ? READ_AIM : undefined)),
    };
  });

  const overRaw = [...shapes()]
    .filter(({ format, direct, client }) => format === 'qcow2' && !direct && client === 'nbdload')
    .map(
      (shape): Case => ({
        name: `${nameOf(shape)}.over-raw`,
        bytes: 0,
        aim: FORMAT_AIM,
        ours: contender(us, shape, 'diskwright qcow2'),
        peers: [contender(us, { ...shape, format: 'raw' }, 'diskwright raw')],
      }),
    );

  return [...against, ...overRaw, ...nbdCopyCases(data, cli)];
}
