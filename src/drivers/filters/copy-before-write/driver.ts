// copy-before-write: keeps what its node holds when the filter is opened. Who writes through the filter waits until the old content is in the target;
// what the node held at that moment is read through a snapshot-access node above the filter.
//
//      guest            snapshot-access
//        |                     |  reads of the moment: what was saved from the target, the rest from the node
//      copy-before-write ------+
//        | file        | target
//        v             v
//      node          where old content goes
//
// How writes wait: see `SavingFilter`.

import type { Abilities, Moment } from '../../../block/abilities.js';
import { DirtyBitmap } from '../../../block/bitmap.js';
import { chainStatus } from '../../../block/chain.js';
import type { Child } from '../../../block/child.js';
import { Keeper, MIN_CLUSTER_BYTES } from '../../../block/keeper.js';
import type { BlockNode } from '../../../block/node/node.js';
import { SAVED_TO_SHARED, SavingFilter } from '../../../block/node/saving-filter.js';
import { OverlayReaders } from '../../../block/overlay-readers.js';
import type { OpenRequest } from '../../../block/registry.js';
import { type Extent, Perm } from '../../../block/types.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { RangeLock } from '../../../util/range-lock.js';
import { KeptMoment } from './moment.js';

const COPY_BYTES = 1 << 20;

class CopyBeforeWriteNode extends SavingFilter {
  override readonly driver = 'copy-before-write';
  override readonly reopens = false;
  protected override readonly keeper: Keeper;
  readonly #moment: KeptMoment;
  /** Those who read the target, and so the file where nothing is saved. */
  readonly #readers: OverlayReaders;

  /** Throws `invalid-argument` where the bitmap is of another size. */
  constructor({ graph, node, options }: OpenRequest<'copy-before-write'>, file: BlockNode, target: BlockNode) {
    super(graph, node, 'copy-before-write', null, file);
    const granularity = Math.max(MIN_CLUSTER_BYTES, target.clusterBytes);
    const bitmap = () => new DirtyBitmap({ size: file.length, granularity });
    const [copy, access, lock] = [bitmap(), bitmap(), new RangeLock()];
    const selected = options.bitmap === undefined ? null : findBitmap(graph.nodes, options.bitmap);
    for (const one of [copy, access]) {
      if (selected === null) one.set(0, file.length);
      else select(one, selected);
    }
    this.setChild('target', target, 'data', { perm: Perm.CONSISTENT_READ | Perm.WRITE, shared: SAVED_TO_SHARED });
    const readers = new OverlayReaders(target, file);
    this.#readers = readers;
    this.keeper = new Keeper({
      clock: graph.host.clock,
      copy,
      lock,
      save: (run) => this.#save(run),
      readersPassed: () => readers.passed(),
      onError: options['on-cbw-error'] ?? 'break-guest-write',
      timeoutSeconds: options['cbw-timeout'],
    });
    this.#moment = new KeptMoment({
      node: this,
      file: this.below,
      target: this.#target,
      copy,
      access,
      lock,
      failure: () => this.keeper.failure,
    });
  }

  get #target(): Child {
    return this.children.get('target')!;
  }

  override get abilities(): Abilities {
    const moment: Moment = this.#moment;
    return { moment, ...this.passedDetails };
  }

  protected override async doClose(): Promise<void> {
    await this.keeper.end();
    this.#readers.end();
  }

  async #save({ offset, length }: Extent): Promise<BlockError | null> {
    const { memory } = this.host;
    const end = offset + length;
    let buffer: Uint8Array | null = null;
    try {
      for (let at = offset; at < end; ) {
        const status = await chainStatus(this.below.node, null, at, end - at);
        if (status.zero) {
          await this.#target.writeZeroes(at, status.length, { mayUnmap: true });
          at += status.length;
          continue;
        }
        buffer ??= memory.allocate(Math.min(COPY_BYTES, length));
        const part = buffer.subarray(0, Math.min(status.length, buffer.length));
        await this.below.read(at, part);
        await this.#target.write(at, part);
        at += part.length;
      }
      return null;
    } catch (error) {
      return toBlockError(error, { path: this.filename, operation: 'copy before write' });
    } finally {
      if (buffer !== null) memory.free(buffer);
    }
  }
}

function findBitmap(nodes: ReadonlyMap<string, BlockNode>, names: { node: string; name: string }): DirtyBitmap {
  const node = nodes.get(names.node);
  if (node === undefined) throw new BlockError('not-found', `Node '${names.node}' not found`);
  const bitmap = node.bitmaps.get(names.name);
  if (bitmap === undefined) throw new BlockError('not-found', `Dirty bitmap '${names.name}' not found`);
  bitmap.checkUsable();
  return bitmap;
}

function select(into: DirtyBitmap, bitmap: DirtyBitmap): void {
  if (bitmap.size === into.size) {
    into.mergeBits(bitmap);
    return;
  }
  throw new BlockError(
    'invalid-argument',
    `Cannot create block-copy-state: Failed to merge bitmap '${bitmap.name}' to internal copy-bitmap: Bitmaps are of different sizes (destination size is ${into.size}, source size is ${bitmap.size}) and can't be merged`,
  );
}

export async function openCopyBeforeWrite(request: OpenRequest<'copy-before-write'>): Promise<BlockNode> {
  const file = await request.openChild('file', null, 'filtered');
  const target = await request.openChild('target', null, 'data');
  if (target.readOnly) throw new BlockError('read-only', 'Block node is read-only', { path: target.filename });
  return new CopyBeforeWriteNode(request, file, target);
}
