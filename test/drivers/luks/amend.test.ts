// Key slots are filled and erased: what is refused, in QEMU's words, and what is left after an error or a loss of power at any request.

import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { createImage } from '../../../src/block/create.js';
import { Graph } from '../../../src/block/graph.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { openNode } from '../../../src/block/open.js';
import { registerDrivers } from '../../../src/drivers/index.js';
import { createSimHost, type SimHost } from '../../../src/host/sim/index.js';
import type { QCryptoBlockAmendOptionsLUKS } from '../../../src/schema/generated/types.js';
import { failureOf, readNode, used } from '../support.js';

const PATH = '/disk';
/** Of an image whose header is detached. */
const HEADER = '/header';
const FAST = { 'iter-time': 1 };
const CONTENT = Buffer.alloc(4096, 'content');
type Format = 'luks' | 'qcow2' | 'detached';

async function graphOn(host: SimHost): Promise<Graph> {
  registerDrivers();
  const graph = new Graph(host);
  for (const id of ['a', 'b', 'c']) await graph.objects.add({ 'qom-type': 'secret', id, data: `password ${id}` });
  return graph;
}

function open(graph: Graph, format: Format, secret: string): Promise<BlockNode> {
  const file = { driver: 'file', filename: PATH };
  const key = { 'key-secret': secret };
  const header = { driver: 'file', filename: HEADER };
  const own = {
    luks: { driver: 'luks', ...key },
    qcow2: { driver: 'qcow2', encrypt: { format: 'luks', ...key } },
    detached: { driver: 'luks', ...key, header },
  };
  return used(openNode(graph, { file, ...own[format] } as never));
}

/** An image that password a opens. */
async function make(format: Format): Promise<SimHost> {
  const host = createSimHost();
  const graph = await graphOn(host);
  const encryption = { 'key-secret': 'a', 'cipher-alg': 'aes-128', ...FAST };
  const own = {
    luks: { driver: 'luks', ...encryption },
    qcow2: { driver: 'qcow2', encrypt: { format: 'luks', ...encryption } },
    detached: { driver: 'luks', ...encryption, header: { driver: 'file', filename: HEADER } },
  };
  await createImage(graph, PATH, { size: 64 << 10, ...own[format] } as never);
  const node = await open(graph, format, 'a');
  await node.write(0, CONTENT);
  await graph.closeAll();
  return host;
}

async function change(
  host: SimHost,
  format: Format,
  options: QCryptoBlockAmendOptionsLUKS,
  { force = false, secret = 'a' } = {},
): Promise<void> {
  const graph = await graphOn(host);
  try {
    const node = await open(graph, format, secret);
    await node.abilities.keySlots!({ options, force });
  } finally {
    await graph.closeAll().catch(() => undefined);
  }
}

/** What becomes of a change; `off`: nothing, as the power is lost before its end. */
async function outcomeOf(host: SimHost, changing: Promise<unknown>): Promise<'done' | 'failed' | 'off'> {
  let left: 'done' | 'failed' | null = null;
  changing.then(
    () => {
      left = 'done';
    },
    () => {
      left = 'failed';
    },
  );
  while (left === null && !host.clock.dead) await new Promise(setImmediate);
  return left ?? 'off';
}

/** All that is on the disk. */
function filesOf(host: SimHost): Buffer {
  return Buffer.concat([PATH, HEADER].filter((path) => host.exists(path)).map((path) => host.readFile(path)));
}

/** By what is on the disk: most requests leave what another one has left, too. */
const known = new Map<string, string>();

/** Which of the passwords open the image and read its content. */
async function opensWith(host: SimHost, format: Format): Promise<string> {
  const state = createHash('sha1').update(format).update(filesOf(host)).digest('hex');
  const found = known.get(state) ?? (await findOpening(host, format));
  known.set(state, found);
  return found;
}

async function findOpening(host: SimHost, format: Format): Promise<string> {
  let found = '';
  for (const secret of ['a', 'b', 'c']) {
    const graph = await graphOn(host);
    try {
      const node = await open(graph, format, secret);
      const content = Buffer.alloc(CONTENT.length);
      await readNode(node, 0, content);
      expect(content.equals(CONTENT), `content by ${secret}`).to.equal(true);
      found += secret;
    } catch (error) {
      expect((error as Error).message).to.match(/Invalid password/);
    }
    await graph.closeAll();
  }
  return found;
}

for (const format of ['luks', 'detached', 'qcow2'] as const) {
  describe(`key slots of ${format}`, () => {
    it('are filled and erased, by number and by password', async () => {
      const host = await make(format);
      await change(host, format, { state: 'active', 'new-secret': 'b', ...FAST });
      expect(await opensWith(host, format)).to.equal('ab');
      await change(host, format, { state: 'active', 'new-secret': 'c', keyslot: 6, ...FAST }, { secret: 'b' });
      expect(await opensWith(host, format)).to.equal('abc');
      await change(host, format, { state: 'inactive', keyslot: 0 }, { secret: 'c' });
      expect(await opensWith(host, format)).to.equal('bc');
      await change(host, format, { state: 'inactive', 'old-secret': 'b' }, { secret: 'c' });
      expect(await opensWith(host, format)).to.equal('c');
    });

    it('get the password that their object had, also where that is removed meanwhile', async () => {
      const host = await make(format);
      const graph = await graphOn(host);
      const node = await open(graph, format, 'a');
      const change = { state: 'active', 'new-secret': 'b', ...FAST } as const;
      const changing = node.abilities.keySlots!({ options: change, force: false });
      const before = host.requests;
      while (host.requests === before) await null;
      graph.objects.remove('b');
      await changing;
      await graph.closeAll();
      expect(await opensWith(host, format)).to.equal('ab');
    });

    it('stay as they are where a change is refused', async () => {
      const host = await make(format);
      const before = filesOf(host);
      const wrong: [QCryptoBlockAmendOptionsLUKS, RegExp][] = [
        [{ state: 'inactive' }, /either explicit keyslot index or the password/],
        [{ state: 'inactive', keyslot: 0 }, /the only active keyslot 0 which will erase all the data/],
        [{ state: 'inactive', 'old-secret': 'a' }, /All the active keyslots match/],
        [{ state: 'inactive', 'old-secret': 'b' }, /No keyslots match given/],
        [{ state: 'inactive', keyslot: 1 }, /already erased/],
        [{ state: 'inactive', keyslot: 0, 'old-secret': 'b' }, /doesn't contain the given old password/],
        [{ state: 'inactive', keyslot: 8 }, /must be between 0 and 7/],
        [{ state: 'inactive', keyslot: 1, ...FAST }, /'iter-time' must not be given/],
        [{ state: 'active' }, /'new-secret' is required/],
        [{ state: 'active', 'new-secret': 'b', keyslot: 0 }, /overwrite active keyslot 0/],
        [{ state: 'active', 'new-secret': 'b', 'old-secret': 'a' }, /'old-secret' must not be given/],
        [{ state: 'active', 'new-secret': 'x' }, /No secret with id 'x'/],
        [{ state: 'active', 'new-secret': 'b', secret: 'c' }, /Invalid password/],
      ];
      for (const [options, message] of wrong) {
        expect((await failureOf(change(host, format, options))).message).to.match(message);
      }
      expect(filesOf(host).equals(before)).to.equal(true);
    });

    it('are overwritten, and the last one is erased, by force', async () => {
      const host = await make(format);
      await change(host, format, { state: 'active', 'new-secret': 'b', keyslot: 0, ...FAST }, { force: true });
      expect(await opensWith(host, format)).to.equal('b');
      await change(host, format, { state: 'inactive', keyslot: 0 }, { force: true, secret: 'b' });
      expect(await opensWith(host, format)).to.equal('');
    });

    it('keep the other passwords, and the content, through an error or a loss of power at any request', async () => {
      const host = await make(format);
      await change(host, format, { state: 'active', 'new-secret': 'b', keyslot: 6, ...FAST });
      const adding = { state: 'active', 'new-secret': 'c', keyslot: 7, ...FAST } as const;
      await breakOff(host, format, { options: adding, force: false }, ['ab'], 'abc');
      await breakOff(host, format, { options: { state: 'inactive', keyslot: 6 }, force: false }, ['ab'], 'a');
    });

    it('open with the old password or the new one wherever the only slot is broken off while it is replaced', async () => {
      const host = await make(format);
      const options = { state: 'active', 'new-secret': 'b', keyslot: 0, ...FAST } as const;
      await breakOff(host, format, { options, force: true }, ['a', 'ab'], 'b');
    });
  });
}

it('a key slot that is replaced where all eight are in use is the only one that a loss of power may take', async () => {
  const host = await make('luks');
  for (let keyslot = 1; keyslot < 8; keyslot++) {
    await change(host, 'luks', { state: 'active', 'new-secret': 'b', keyslot, ...FAST });
  }
  const options = { state: 'active', 'new-secret': 'c', keyslot: 0, ...FAST } as const;
  await breakOff(host, 'luks', { options, force: true }, ['ab', 'b'], 'bc');
});

/** Breaks the change off at each of its requests; then it is opened by one of the lists of passwords in `meanwhile`, or by `done`. */
async function breakOff(
  host: SimHost,
  format: Format,
  change: { options: QCryptoBlockAmendOptionsLUKS; force: boolean },
  meanwhile: readonly string[],
  done: string,
): Promise<void> {
  for (const errno of format === 'luks' ? ['EIO', 'ENOSPC', null] : [null]) {
    for (let at = 0, ended = false; !ended; at++) {
      const run = host.fork();
      const graph = await graphOn(run);
      const node = await open(graph, format, 'a');
      const writes = { operations: ['write', 'flush'] as const, after: at, times: 1 };
      if (errno === null) run.setFaults({ powerLossAt: run.requests + 1 + at });
      else run.setFaults({ rules: [{ ...writes, errno }] });
      ended = (await outcomeOf(run, node.abilities.keySlots!(change))) === 'done';
      const after = errno === null ? run.crash({ eager: true }) : run.fork();
      const opened = await opensWith(after, format);
      expect(opened, `${errno} at ${at}`).to.be.oneOf(ended ? [done] : [...meanwhile, done]);
      expect(at).to.be.lessThan(60);
    }
  }
}
