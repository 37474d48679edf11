// The qcow images that are mutated.

import { createImage } from '../../../src/block/create.js';
import { openNode } from '../../../src/block/open.js';
import type { BlockdevOptions } from '../../../src/schema/generated/types.js';
import { graphWith, IMAGE, SECRET } from '../../mutation/images.js';
import type { MadeMutant, MutantKind, Place } from '../fixture.js';

const L1 = 48;
const BASE = '/base.raw';

interface Kind {
  name: string;
  over?: boolean;
  compressed?: boolean;
  encrypted?: boolean;
}

const optionsOf = ({ encrypted }: Kind): BlockdevOptions => ({
  driver: 'qcow',
  file: { driver: 'file', filename: IMAGE },
  discard: 'unmap',
  ...(encrypted && { encrypt: { format: 'aes', 'key-secret': SECRET } }),
});

async function make(kind: Kind): Promise<MadeMutant> {
  const { over = false, compressed = false, encrypted = false } = kind;
  const { host, graph } = await graphWith(new Map());
  const [cluster, perTable] = over ? [512, 4096] : [4096, 512];
  if (over) await createImage(graph, BASE, { driver: 'raw', size: 40960 });
  await createImage(graph, IMAGE, {
    driver: 'qcow',
    size: (perTable + 40) * cluster,
    ...(over && { 'backing-file': BASE, 'backing-fmt': 'raw' }),
    ...(encrypted && { encrypt: { format: 'qcow', 'key-secret': SECRET } }),
  });
  const node = await openNode(graph, optionsOf(kind));
  for (const index of [2, 0, 3, perTable + 1]) {
    await node.write(index * cluster, new Uint8Array(cluster).fill(index + 1), { compressed: compressed && index > 0 });
  }
  await graph.closeAll();
  const files = new Map(host.files().map((path) => [path, Buffer.from(host.readFile(path))]));
  const image = files.get(IMAGE)!;
  const l1 = Number(image.readBigUInt64BE(40));
  const l2 = Number(image.readBigUInt64BE(l1));
  const data: Place[] = compressed ? [[l2 + perTable * 8, l2 + perTable * 8 + 64]] : [];
  const name: Place[] = over ? [[L1, L1 + BASE.length]] : [];
  return {
    files,
    places: [[0, 48], [8, 48], [l1, l1 + 16], [l1, l1 + 16], [l2, l2 + 32], [l2, l2 + 32], ...name, ...data],
  };
}

const KINDS: readonly Kind[] = [
  { name: 'qcow' },
  { name: 'qcow, over a raw file', over: true },
  { name: 'qcow, compressed', compressed: true },
  { name: 'qcow, encrypted', encrypted: true },
];

export const QCOW_MUTANTS: readonly MutantKind[] = KINDS.map((kind) => ({
  name: kind.name,
  costly: false,
  repairs: false,
  data: false,
  byteOrder: 'big',
  options: optionsOf(kind),
  make: () => make(kind),
}));
