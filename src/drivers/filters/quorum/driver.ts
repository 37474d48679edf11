// quorum: several nodes with the same content. Writes go to all of them, reads come from all, and what a threshold of them agrees on counts:
//
//                  quorum                       read: votes.ts finds the content that most children have
//      children.0 /   |   \ children.2          write, flush: as many must succeed
//               a     b     c
//
// A child that fails, or is outvoted, is reported (QUORUM_REPORT_BAD), and where too few agree the request fails (QUORUM_FAILURE).

import type { ChangeableChildren } from '../../../block/abilities.js';
import type { Child } from '../../../block/child.js';
import { nameAsOptions } from '../../../block/filename.js';
import { BlockNode } from '../../../block/node/node.js';
import type { OpenRequest } from '../../../block/registry.js';
import type { Permissions } from '../../../block/roles.js';
import { type BlockStatus, PERM_ALL, Perm, type WriteFlags, type ZeroFlags } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { BlockdevOptionsQuorum, QuorumOpType } from '../../../schema/generated/types.js';
import { formatJsonFilename } from '../../../schema/options.js';
import { orElse } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { SECTOR_BYTES } from '../../../util/numbers.js';
import { RangeLock } from '../../../util/range-lock.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import { firstDifference, votesOf } from './votes.js';

const MAX_CHILDREN = 1024;

class QuorumNode extends BlockNode implements ChangeableChildren {
  override readonly driver = 'quorum';
  override readonly reopens = false;
  override readonly kind = 'filter';
  readonly #own: BlockdevOptionsQuorum;
  #nextIndex: number;
  /** Reads are apart from writes that overlap them, and writes from one another: otherwise children would differ by chance. */
  readonly #lock = new RangeLock();

  constructor({ graph, node, options }: OpenRequest<'quorum'>, children: readonly BlockNode[]) {
    super(graph, node);
    this.#own = options;
    this.length = children[0].length;
    this.#nextIndex = children.length;
    children.forEach((child, index) => {
      this.setChild(`children.${index}`, child, 'data', { perm: 0, shared: PERM_ALL });
    });
    this.updatePermissions();
  }

  override get filename(): string {
    const { blkverify, 'vote-threshold': threshold, 'rewrite-corrupted': rewrites, 'read-pattern': reads } = this.#own;
    return formatJsonFilename({
      'read-pattern': reads,
      children: this.#links.map(({ node }) => nameAsOptions(node)),
      driver: 'quorum',
      blkverify,
      'rewrite-corrupted': rewrites,
      'vote-threshold': threshold,
    });
  }

  override get abilities() {
    return { children: this };
  }

  get #links(): Child[] {
    return [...this.children.values()];
  }

  get #threshold(): number {
    return this.#own['vote-threshold'];
  }

  get #rewrites(): boolean {
    return this.#own['rewrite-corrupted'] === true;
  }

  /** Nobody else may change one of the children: they would differ. */
  override needsOf(_link: Child, perm: number, shared: number): Permissions {
    return this.#needs(perm, shared);
  }

  /** What it needs of each child. */
  #needs(perm: number, shared: number): Permissions {
    // The base's constructor has no say: the children come after it.
    const writes = this.#rewrites ? Perm.WRITE : 0;
    return { perm: perm | writes, shared: shared & (Perm.CONSISTENT_READ | Perm.WRITE_UNCHANGED) };
  }

  override async allocatedBytes(): Promise<number | null> {
    let sum = 0;
    for (const { node } of this.#links) sum += (await node.allocatedBytes()) ?? 0;
    return sum;
  }

  override get zeroWhenNew(): boolean {
    return this.#links.every(({ node }) => node.zeroWhenNew);
  }

  override get fixedSize(): boolean {
    return true;
  }

  protected override get handlesFua(): boolean {
    return true;
  }

  // ---- reads --------------------------------------------------------------------------------------------------

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    if (this.#own['read-pattern'] === 'fifo') await this.#readFirst(offset, buffer);
    else {
      const held = await this.#lock.acquire(offset, offset + buffer.length, this.#rewrites ? 'exclusive' : 'shared');
      try {
        await this.#readAll(offset, buffer);
      } finally {
        this.#lock.release(held);
      }
    }
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  async #readFirst(offset: number, buffer: Uint8Array): Promise<void> {
    let failure: unknown;
    for (const link of this.#links) {
      try {
        return await link.read(offset, buffer);
      } catch (error) {
        this.#reportBad('read', link, offset, buffer.length, toBlockError(error));
        failure ??= error;
      }
    }
    throw failure;
  }

  async #readAll(offset: number, buffer: Uint8Array): Promise<void> {
    const { memory } = this.host;
    const copies: { link: Child; bytes: Uint8Array }[] = [];
    try {
      for (const link of this.#links) copies.push({ link, bytes: memory.allocate(buffer.length) });
      const good = await this.#each('read', copies, offset, buffer.length, ({ link, bytes }) =>
        link.read(offset, bytes),
      );
      const [winner, ...others] = votesOf(good);
      if (others.length > 0) {
        if (this.#own.blkverify) throw this.#different(offset, winner[0].bytes, others[0][0].bytes);
        if (winner.length < this.#threshold) throw this.#failed('read', offset, buffer.length);
        const outvoted = others.flat();
        for (const { link } of outvoted) this.#reportBad('read', link, offset, buffer.length, null);
        if (this.#rewrites) await this.#rewrite(outvoted, offset, winner[0].bytes);
      }
      buffer.set(winner[0].bytes);
    } finally {
      for (const { bytes } of copies) memory.free(bytes);
    }
  }

  /** A child that cannot be written to is reported, and is outvoted the next time as well. */
  async #rewrite(outvoted: readonly { link: Child }[], offset: number, content: Uint8Array): Promise<void> {
    for (const { link } of outvoted) {
      try {
        await link.write(offset, content);
      } catch (error) {
        this.#reportBad('write', link, offset, content.length, toBlockError(error));
      }
    }
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    let run = length;
    let zero = true;
    for (const link of this.#links) {
      const status = await link.blockStatus(offset, run).catch(orElse('the status of a child of a quorum', null));
      run = status?.length ?? run;
      zero &&= status?.zero ?? false;
    }
    return { length: run, allocated: true, data: !zero, zero, compressed: false, offset: -1, node: null };
  }

  // ---- changes ------------------------------------------------------------------------------------------------

  protected override async doWrite(offset: number, buffer: Uint8Array, flags: WriteFlags): Promise<void> {
    const { fua } = flags;
    await this.#lock.with(offset, offset + buffer.length, () =>
      this.#all('write', offset, buffer.length, (link) => link.write(offset, buffer, { fua })),
    );
  }

  protected override async doWriteZeroes(offset: number, length: number, flags: ZeroFlags): Promise<void> {
    const { fua, mayUnmap } = flags;
    await this.#lock.with(offset, offset + length, () =>
      this.#all('write', offset, length, (link) => link.writeZeroes(offset, length, { fua, mayUnmap })),
    );
  }

  protected override async doFlush(): Promise<void> {
    await this.#all('flush', 0, this.length, (link) => link.flush());
  }

  async #all(type: QuorumOpType, offset: number, length: number, action: (link: Child) => Promise<void>) {
    const links = this.#links.map((link) => ({ link }));
    await this.#each(type, links, offset, length, ({ link }) => action(link));
  }

  /** Does `action` for all children. Resolves with those that did it. Rejects where they are fewer than the threshold. */
  async #each<T extends { link: Child }>(
    type: QuorumOpType,
    targets: readonly T[],
    offset: number,
    length: number,
    action: (target: T) => Promise<void>,
  ): Promise<T[]> {
    const results = await Promise.allSettled(targets.map(action));
    const good: T[] = [];
    let failure: BlockError | null = null;
    results.forEach((result, index) => {
      if (result.status === 'fulfilled') {
        good.push(targets[index]);
        return;
      }
      const error = toBlockError(result.reason);
      this.#reportBad(type, targets[index].link, offset, length, error);
      failure ??= error;
    });
    if (good.length >= this.#threshold) return good;
    const agreed = this.#failed(type, offset, length);
    throw failure ?? agreed;
  }

  // ---- what is said of it --------------------------------------------------------------------------------------

  #reportBad(type: QuorumOpType, { node }: Child, offset: number, length: number, error: BlockError | null): void {
    const words = error === null ? undefined : ((error.errno && wordsOfErrno(error.errno)) ?? error.reason);
    this.graph.events.emit('QUORUM_REPORT_BAD', {
      type,
      ...(words !== undefined && { error: words }),
      'node-name': node.nodeName,
      ...sectorsOf(offset, length),
    });
  }

  #failed(operation: string, offset: number, length: number): BlockError {
    this.graph.events.emit('QUORUM_FAILURE', { reference: this.nodeName, ...sectorsOf(offset, length) });
    const reason = `fewer than ${this.#threshold} children of the quorum agree`;
    return BlockError.at(this.filename, 'io', reason, { operation, offset, length, errno: 'EIO' });
  }

  #different(offset: number, one: Uint8Array, other: Uint8Array): BlockError {
    const at = offset + firstDifference(one, other);
    const { 'sector-num': sector, 'sectors-count': count } = sectorsOf(offset, one.length);
    const reason = `quorum: sector-num=${sector} sectors-count=${count} contents mismatch at byte ${at}`;
    return BlockError.at(this.filename, 'io', reason, { operation: 'read', offset, length: one.length, errno: 'EIO' });
  }

  // ---- children that come and go -------------------------------------------------------------------------------

  add(node: BlockNode): void {
    if (this.#own.blkverify) throw this.#refused('Cannot add a child to a quorum in blkverify mode');
    if (this.children.size >= MAX_CHILDREN) throw this.#refused('Too many children');
    this.setChild(`children.${this.#nextIndex}`, node, 'data', this.#needs(0, PERM_ALL));
    this.#nextIndex++;
    this.updatePermissions();
  }

  async remove(name: string): Promise<void> {
    if (this.children.size <= this.#threshold) {
      throw this.#refused(`The number of children cannot be lower than the vote threshold ${this.#threshold}`);
    }
    const { node } = this.children.get(name)!;
    if (name === `children.${this.#nextIndex - 1}`) this.#nextIndex--;
    this.removeChild(name);
    await this.graph.release(node);
  }

  #refused(message: string): BlockError {
    return new BlockError('unsupported', message, { path: this.filename });
  }
}

function sectorsOf(offset: number, length: number): { 'sector-num': number; 'sectors-count': number } {
  const first = Math.floor(offset / SECTOR_BYTES);
  return { 'sector-num': first, 'sectors-count': Math.ceil((offset + length) / SECTOR_BYTES) - first };
}

/** Throws `invalid-argument`. */
function checkOptions(options: BlockdevOptionsQuorum): void {
  const { children, blkverify, 'vote-threshold': threshold, 'read-pattern': reads = 'quorum' } = options;
  const fail = (message: string): never => {
    throw new BlockError('invalid-argument', message, { operation: 'open' });
  };
  if (children.length < 1) fail('Number of provided children must be 1 or more');
  if (children.length > MAX_CHILDREN) fail('Too many children');
  if (threshold < 1) fail("Parameter 'vote-threshold' expects a value >= 1");
  if (threshold > children.length) fail('threshold may not exceed children count');
  if (reads === 'fifo') return;
  if (blkverify && (children.length !== 2 || threshold !== 2)) {
    fail('blkverify=on can only be set if there are exactly two files and vote-threshold is 2');
  }
  if (blkverify && options['rewrite-corrupted']) fail('rewrite-corrupted=on cannot be used with blkverify=on');
}

export async function openQuorum(request: OpenRequest<'quorum'>): Promise<BlockNode> {
  const { options } = request;
  checkOptions(options);
  const children: BlockNode[] = [];
  for (let i = 0; i < options.children.length; i++) {
    children.push(await request.openChild(`children.${i}`, null, 'data'));
  }
  if (children.some(({ length }) => length !== children[0].length)) {
    throw new BlockError('io', 'Could not refresh total sector count: Input/output error', { operation: 'open' });
  }
  return new QuorumNode(request, children);
}
