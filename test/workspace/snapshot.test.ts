// External snapshots: what changes places, what stays as it was, and what a failure leaves.

import { expect } from 'chai';
import { createImage } from '../../src/block/create.js';
import { Device, rootOf } from '../../src/block/device.js';
import { Graph } from '../../src/block/graph.js';
import { backingFileOf, needFormat } from '../../src/block/node/format.js';
import type { BlockNode } from '../../src/block/node/node.js';
import { openNode } from '../../src/block/open.js';
import { appendOverlays } from '../../src/block/snapshot.js';
import { PERM_ALL, Perm } from '../../src/block/types.js';
import { createSimHost, Random } from '../../src/host/sim/index.js';
import { type SnapshotRequest, takeSnapshots } from '../../src/workspace/snapshot.js';
import { contentOf, nobody } from '../block/support.js';
import { type Bench, failureOf, makeBench, pattern } from '../drivers/support.js';
import { checkFiles, expectValues, expectVerified, readImage } from '../sim/checks.js';
import { AFTERWARDS, NO_ERRORS } from '../sim/faults.js';
import { Guest, randomHabits } from '../sim/guest.js';
import { buildChain, randomChain } from '../sim/images.js';
import { LocatedDisk } from '../sim/located-disk.js';
import { GuestModel } from '../sim/model.js';

const SIZE = 1 << 20;

async function openQcow2(
  bench: Bench,
  path: string,
  data = pattern(4096),
): Promise<{ node: BlockNode; drive: Device }> {
  await createImage(bench.graph, path, { driver: 'qcow2', size: SIZE });
  const node = await openNode(bench.graph, path, { format: 'qcow2', discard: 'unmap' });
  const drive = new Device(node, { name: `drive${path}`, writable: true });
  await drive.write(0, data);
  return { node, drive };
}

function chain(top: BlockNode): string[] {
  const names: string[] = [];
  for (let node: BlockNode | null = top; node !== null; node = node.children.get('backing')?.node ?? null)
    names.push(node.filename);
  return names;
}

function snapshot(bench: Bench, node: BlockNode, file: string, more: Partial<SnapshotRequest> = {}) {
  return takeSnapshots(bench.graph, [{ node, 'snapshot-file': file, ...more }]);
}

describe('snapshot', () => {
  it('puts an overlay in place of the node, which becomes its backing node', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    const [overlay] = await snapshot(bench, node, '/b', { 'snapshot-node-name': 'over' });
    expect([rootOf(drive).node, overlay.nodeName, overlay.discardMode]).to.deep.equal([overlay, 'over', 'unmap']);
    expect(chain(overlay)).to.deep.equal(['/b', '/a']);
    const { backingFile, backingFormat } = needFormat(overlay);
    expect([backingFile, backingFormat]).to.deep.equal(['/a', 'qcow2']);
    expect([node.readOnly, node.children.get('file')!.node.readOnly, node.hostFile()!.writable]).to.deep.equal([
      true,
      true,
      false,
    ]);
    const before = bench.host.readFile('/a');
    await drive.write(512, new Uint8Array(512).fill(9));
    await drive.flush();
    expect(bench.host.readFile('/a')).to.deep.equal(before);
    await drive.close();
    await bench.graph.closeAll();
    const again = await openNode(new Graph(bench.host), '/b', { readOnly: true });
    const expected = pattern(4096).fill(9, 512, 1024);
    expect(await contentOf(again, 0, 4096)).to.deep.equal(Buffer.from(expected));
  });

  it('lets others read what is kept, and nobody write to it', async () => {
    const bench = makeBench();
    const { node } = await openQcow2(bench, '/a');
    await snapshot(bench, node, '/b');
    const elsewhere = new Graph(bench.host);
    await openNode(elsewhere, '/a', { readOnly: true, format: 'qcow2' });
    expect((await failureOf(openNode(new Graph(bench.host), '/a', { format: 'qcow2' }))).code).to.equal('locked');
  });

  it('goes on and on, also where one order asks twice', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    await snapshot(bench, rootOf(drive).node, '/b');
    await drive.write(0, Uint8Array.of(2));
    await takeSnapshots(bench.graph, [
      { node: rootOf(drive).node, 'snapshot-file': '/c' },
      { node: rootOf(drive).node, 'snapshot-file': '/d' },
    ]);
    await drive.write(1, Uint8Array.of(3));
    expect(chain(rootOf(drive).node)).to.deep.equal(['/d', '/c', '/b', '/a']);
    expect(await contentOf(node, 0, 2)).to.deep.equal(Buffer.from(pattern(2)));
    expect(await contentOf(rootOf(drive).node, 0, 3)).to.deep.equal(Buffer.from([2, 3, pattern(3)[2]]));
  });

  it('names the backing file so that it is found from another folder', async () => {
    const bench = makeBench();
    const { node } = await openQcow2(bench, '/dir/a');
    bench.host.writeFile('/other/file', new Uint8Array(1));
    const [overlay] = await snapshot(bench, node, '/other/b');
    expect(backingFileOf(overlay)).to.equal('/dir/a');
  });

  it('takes an image that is there', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    await createImage(bench.graph, '/b', { driver: 'qcow2', size: SIZE, 'cluster-size': 4096 });
    const [overlay] = await snapshot(bench, node, '/b', { mode: 'existing' });
    expect([overlay.clusterBytes, backingFileOf(overlay)]).to.deep.equal([4096, null]);
    expect(await contentOf(rootOf(drive).node, 0, 4096)).to.deep.equal(Buffer.from(pattern(4096)));
  });

  it('of a read-only image is read-only', async () => {
    const bench = makeBench();
    const { drive } = await openQcow2(bench, '/a');
    await drive.close();
    await bench.graph.closeAll();
    bench.graph = new Graph(bench.host);
    const node = await openNode(bench.graph, '/a', { readOnly: true });
    const reader = new Device(node, { name: 'reader', writable: false });
    const [overlay] = await snapshot(bench, node, '/b');
    expect([rootOf(reader).node, overlay.readOnly]).to.deep.equal([overlay, true]);
  });

  it('appends a node that is open', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    await createImage(bench.graph, '/b', { driver: 'qcow2', size: SIZE });
    const overlay = await openNode(bench.graph, '/b', { format: 'qcow2' });
    await appendOverlays(bench.graph, [{ node, overlay }]);
    expect([rootOf(drive).node, overlay.children.get('backing')!.node, node.readOnly]).to.deep.equal([
      overlay,
      node,
      true,
    ]);
  });

  it('takes an overlay that a monitor opened beforehand, and leaves what monitors hold where it is', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    await createImage(bench.graph, '/b', { driver: 'qcow2', size: SIZE });
    const overlay = await openNode(bench.graph, '/b', { format: 'qcow2' });
    const holds = [node, overlay].map((held) => held.attach(nobody, 'monitor', 0, PERM_ALL));
    await appendOverlays(bench.graph, [{ node, overlay }]);
    expect(rootOf(drive).node).to.equal(overlay);
    expect(holds.map((hold) => hold.node)).to.deep.equal([node, overlay]);
  });

  it('refuses an overlay that somebody reads', async () => {
    const bench = makeBench();
    const { node } = await openQcow2(bench, '/a');
    await createImage(bench.graph, '/b', { driver: 'qcow2', size: SIZE });
    const overlay = await openNode(bench.graph, '/b', { format: 'qcow2' });
    overlay.attach(nobody, 'source', Perm.CONSISTENT_READ, PERM_ALL);
    const error = await failureOf(appendOverlays(bench.graph, [{ node, overlay }]));
    expect(error).to.include({ code: 'invalid-argument', message: 'The overlay is already in use' });
  });

  it('keeps several images as they were at one moment', async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const host = createSimHost();
      const bench: Bench = { host, graph: new Graph(host), warnings: [] };
      for (const path of ['/a', '/b']) await openQcow2(bench, path, new Uint8Array(8));
      await bench.graph.closeAll();
      const live = host.fork({ seed, eager: false });
      await live.run(
        (async () => {
          const graph = new Graph(live);
          const drives: Device[] = [];
          for (const path of ['/a', '/b']) {
            drives.push(
              new Device(await openNode(graph, path, { format: 'qcow2' }), { name: path.slice(1), writable: true }),
            );
          }
          // The number is written to the second image once the first one has it.
          let stop = false;
          const writer = (async () => {
            for (let n = 1; !stop; n++)
              for (const drive of drives) await drive.write(0, Uint8Array.of(n & 0xff, n >> 8));
          })();
          await new Promise<void>((resolve) => live.clock.timer(seed / 3, resolve));
          await takeSnapshots(
            graph,
            drives.map((drive) => ({ node: rootOf(drive).node, 'snapshot-file': `/${drive.name}2` })),
          );
          stop = true;
          await writer;
          const numbers: number[] = [];
          for (const drive of drives) {
            const head = await contentOf(rootOf(drive).node.children.get('backing')!.node, 0, 2);
            numbers.push(head.readUInt16LE(0));
          }
          expect(numbers[0] - numbers[1], `seed ${seed}: ${numbers}`).to.be.within(0, 1);
          for (const drive of drives) await drive.close();
          await graph.closeAll();
        })(),
      );
    }
  });

  it('loses nothing of what guests write meanwhile, and keeps the old images as they were', async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const random = new Random(seed, 60);
      const images = randomChain(random, { format: 'qcow2' });
      let value = 0;
      const nextValue = () => ++value;
      const host = (await buildChain(images, random, nextValue)).fork({ seed, eager: false });
      const model = new GuestModel(images.contents[images.contents.length - 1]);
      const kept = new Map<string, Uint8Array>();
      let top = '';
      await host.run(
        (async () => {
          const graph = new Graph(host);
          const drive = new Device(await openNode(graph, images.options), { name: 'guest', writable: true });
          const guest = new Guest({
            habits: randomHabits(random, rootOf(drive).node.clusterBytes),
            random,
            model,
            disk: seed % 2 === 0 ? new LocatedDisk(drive, host) : drive,
            expectedErrors: NO_ERRORS,
            nextValue,
          });
          const working = guest.run(120, 4);
          for (const file of ['/s1.qcow2', '/s2.qcow2']) {
            const { node } = rootOf(drive);
            await takeSnapshots(graph, [{ node, 'snapshot-file': file }]);
            kept.set(node.filename, host.readFile(node.filename));
            await guest.run(10, 2);
          }
          await working;
          top = rootOf(drive).node.filename;
          await drive.close();
          await graph.closeAll();
        })(),
      );
      for (const [path, content] of kept) {
        expect(Buffer.compare(host.readFile(path), content), `seed ${seed}: ${path} was changed`).to.equal(0);
      }
      const after = host.fork(AFTERWARDS);
      checkFiles(after, false);
      const options = { driver: 'qcow2', file: { driver: 'file', filename: top } } as const;
      const content = await readImage(after, options, false);
      expectVerified(after, top, content);
      expectValues(content, model.sectors, `seed ${seed}`, (sector) => model.allowedNow(sector));
    }
  });
});

describe('snapshot: refusals', () => {
  /** Each leaves the image as it was, and no file that was not there. */
  async function refused(
    act: (bench: Bench, node: BlockNode) => Promise<unknown>,
    code: string,
    message: string | RegExp,
  ): Promise<void> {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    const other = await openQcow2(bench, '/other');
    const files = bench.host.files();
    const error = await failureOf(act(bench, node));
    expect(error.code, error.message).to.equal(code);
    if (typeof message === 'string') expect(error.message).to.equal(message);
    else expect(error.message).to.match(message);
    expect(bench.host.files()).to.deep.equal(files);
    expect([rootOf(drive).node, node.readOnly, rootOf(other.drive).node]).to.deep.equal([node, false, other.node]);
    await drive.write(0, Uint8Array.of(1, 2, 3));
    expect(await contentOf(node, 0, 4)).to.deep.equal(Buffer.from([1, 2, 3, pattern(4)[3]]));
    await drive.close();
    await bench.graph.release(node);
    await openNode(new Graph(bench.host), '/a', { format: 'qcow2' });
  }

  const cases: [string, (bench: Bench, node: BlockNode) => Promise<unknown>, string, string | RegExp][] = [
    [
      'a node with a job',
      (bench, node) => {
        node.blockers.set(nobody, 'block device is in use by block job: mirror');
        return snapshot(bench, node, '/b').finally(() => node.blockers.delete(nobody));
      },
      'busy',
      /is busy: block device is in use by block job: mirror$/,
    ],
    [
      'a job that begins while the overlay is made',
      (bench, node) => {
        const taking = snapshot(bench, node, '/b');
        node.blockers.set(nobody, 'block device is in use by block job: mirror');
        return taking.finally(() => node.blockers.delete(nobody));
      },
      'busy',
      /is busy/,
    ],
    [
      'a format without backing files',
      (bench, node) => snapshot(bench, node, '/b', { format: 'raw' }),
      'invalid-argument',
      "Backing file not supported for file format 'raw'",
    ],
    [
      'a format that is not known',
      (bench, node) => snapshot(bench, node, '/b', { format: 'nix' }),
      'invalid-argument',
      "Unknown file format 'nix'",
    ],
    [
      'a node name that is taken',
      (bench, node) => snapshot(bench, node, '/b', { 'snapshot-node-name': node.nodeName }),
      'exists',
      'New overlay node-name already in use',
    ],
    [
      'a node name that cannot be',
      (bench, node) => snapshot(bench, node, '/b', { 'snapshot-node-name': '9' }),
      'invalid-argument',
      "Invalid node-name: '9'",
    ],
    ['its own file as overlay', (bench, node) => snapshot(bench, node, '/a'), 'locked', /lock/],
    ["another image's file as overlay", (bench, node) => snapshot(bench, node, '/other'), 'locked', /lock/],
    [
      'an existing overlay that is not there',
      (bench, node) => snapshot(bench, node, '/b', { mode: 'existing' }),
      'not-found',
      "Could not open '/b': No such file or directory",
    ],
    [
      'an existing overlay that is too small',
      async (bench, node) => {
        await createImage(bench.graph, '/small', { driver: 'qcow2', size: 512 });
        return snapshot(bench, node, '/small', { mode: 'existing' }).finally(() => bench.host.unlink('/small'));
      },
      'invalid-argument',
      /^The overlay has 512 bytes/,
    ],
    [
      'all, where one of them fails',
      (bench, node) =>
        takeSnapshots(bench.graph, [
          { node, 'snapshot-file': '/b' },
          { node: [...bench.graph.nodes.values()].at(-1)!, 'snapshot-file': '/c', mode: 'existing' },
        ]),
      'not-found',
      /\/c/,
    ],
    [
      'two overlays in one file',
      (bench, node) =>
        takeSnapshots(bench.graph, [
          { node, 'snapshot-file': '/b' },
          { node: [...bench.graph.nodes.values()].at(-1)!, 'snapshot-file': '/b' },
        ]),
      'locked',
      /lock/,
    ],
    [
      'an overlay that somebody uses',
      (bench, node) => appendOverlays(bench.graph, [{ node, overlay: [...bench.graph.nodes.values()].at(-1)! }]),
      'invalid-argument',
      'The overlay is already in use',
    ],
    [
      'itself as overlay',
      (bench, node) => appendOverlays(bench.graph, [{ node, overlay: node }]),
      'invalid-argument',
      'The overlay is already in use',
    ],
    [
      'an old file that cannot be opened anew, after the links have moved',
      (bench, node) => {
        const taking = snapshot(bench, node, '/b');
        bench.host.setFaults({ rules: [{ operations: ['open'], path: '/a' }] });
        return taking.finally(() => bench.host.setFaults({}));
      },
      'io',
      /open/,
    ],
    [
      'no room for the overlay',
      (bench, node) => {
        bench.host.setFaults({ rules: [{ operations: ['write'], path: '/b', errno: 'ENOSPC' }] });
        return snapshot(bench, node, '/b').finally(() => bench.host.setFaults({}));
      },
      'no-space',
      /\/b/,
    ],
  ];
  for (const [what, act, code, message] of cases) {
    it(what, () => refused(act, code, message));
  }

  it('its own file as overlay, where no image lock says so', async () => {
    const bench = makeBench();
    await createImage(bench.graph, '/a', { driver: 'qcow2', size: SIZE });
    const file = { driver: 'file', filename: '/a', locking: 'off' } as const;
    const node = await openNode(bench.graph, { driver: 'qcow2', file });
    await node.write(0, pattern(4096));
    await node.flush();
    const before = bench.host.readFile('/a');
    const error = await failureOf(snapshot(bench, node, '/a'));
    expect(error).to.include({ code: 'locked', path: '/a' });
    expect(bench.host.readFile('/a')).to.deep.equal(before);
    await bench.graph.closeAll();
  });

  it('a flush that fails: the guest stays where it was', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    bench.host.setFaults({ rules: [{ operations: ['flush'], path: '/a' }] });
    expect((await failureOf(snapshot(bench, node, '/b'))).code).to.equal('io');
    bench.host.setFaults({});
    expect([rootOf(drive).node, node.readOnly, bench.host.files()]).to.deep.equal([node, false, ['/a']]);
    await drive.write(0, Uint8Array.of(1));
    expect(await contentOf(node, 0, 1)).to.deep.equal(Buffer.from([1]));
  });

  it('of a backing node, a chain that is too long, an overlay that has a backing node', async () => {
    const bench = makeBench();
    const { node, drive } = await openQcow2(bench, '/a');
    await snapshot(bench, node, '/b', { 'snapshot-node-name': 'b' });
    expect(await failureOf(snapshot(bench, node, '/c'))).to.include({
      code: 'busy',
      message: `Node '${node.nodeName}' is busy: node is used as backing hd of 'b'`,
    });
    const { node: over } = await openQcow2(bench, '/x');
    const other = await openNode(bench.graph, { driver: 'raw', file: { driver: 'null-co', size: SIZE } });
    expect(await failureOf(appendOverlays(bench.graph, [{ node: over, overlay: other }]))).to.include({
      code: 'invalid-argument',
      message: 'The overlay does not support backing images',
    });
    for (let i = 2; i < 200; i++) await snapshot(bench, rootOf(drive).node, `/n${i}`);
    expect((await failureOf(snapshot(bench, rootOf(drive).node, '/n200'))).code).to.equal('limit');
    expect(bench.host.files()).to.not.include('/n200');
  });
});
