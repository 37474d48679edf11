// null-co and null-aio: ignore writes, and reads return zeroes. They serve to measure the layers above, and are the same but for the name: QEMU answers
// the requests of the one from a coroutine, of the other from its event loop.

import type { Graph } from '../../../block/graph.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import type { DriverDefinition } from '../../../block/registry.js';
import type { BlockStatus } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import { sleep } from '../../../host/sleep.js';
import type { BlockdevOptions, BlockdevOptionsNull } from '../../../schema/generated/types.js';
import { formatJsonFilename } from '../../../schema/options.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';

const DEFAULT_BYTES = 1 << 30;
const NS_PER_MS = 1e6;

type NullName = 'null-co' | 'null-aio';

class NullNode extends ProtocolNode {
  override readonly driver: NullName;
  override readonly filename: string;
  readonly #latencyMs: number;
  readonly #readZeroes: boolean;

  constructor(graph: Graph, options: NodeOptions, driver: NullName, own: BlockdevOptionsNull) {
    super(graph, options);
    this.driver = driver;
    this.length = roundUp(own.size ?? DEFAULT_BYTES, SECTOR_BYTES);
    checkImageSize(this.length, driver, 'open');
    const latencyNs = own['latency-ns'] ?? 0;
    // As large is what has no place in 64 bits with a sign, too.
    if (latencyNs === Number.MAX_SAFE_INTEGER) throw new BlockError('invalid-argument', 'latency-ns is invalid');
    this.#latencyMs = latencyNs / NS_PER_MS;
    this.#readZeroes = own['read-zeroes'] ?? false;
    const { size, 'read-zeroes': readZeroes } = own;
    this.filename =
      size === undefined && readZeroes === undefined
        ? `${driver}://`
        : formatJsonFilename({ driver, size, 'read-zeroes': readZeroes });
  }

  override async allocatedBytes(): Promise<number> {
    return 0;
  }

  protected override async doRead(_offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    // The buffer is zeroed even without read-zeroes: it may hold data of an earlier read by another user.
    buffer.fill(0);
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
    await this.#wait();
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    const zero = this.#readZeroes;
    return {
      length,
      allocated: zero,
      data: false,
      zero,
      compressed: false,
      offset: zero ? offset : -1,
      node: zero ? this : null,
    };
  }

  protected override doWrite(): Promise<void> {
    return this.#wait();
  }

  protected override doWriteZeroes(): Promise<void> {
    return this.#wait();
  }

  protected override doFlush(): Promise<void> {
    return this.#wait();
  }

  async #wait(): Promise<void> {
    if (this.#latencyMs > 0) await sleep(this.host.clock, this.#latencyMs);
  }
}

function nullDriver<D extends NullName>(name: D): DriverDefinition<D> {
  return {
    name,
    kind: 'protocol',
    foreignOptions: { place: ['size'], use: ['latency-ns', 'read-zeroes'] },
    names: {
      prefixes: [name],
      parse(filename) {
        if (filename === `${name}://`) return { driver: name } as Extract<BlockdevOptions, { driver: D }>;
        throw new BlockError('invalid-argument', `The only allowed filename for this driver is '${name}://'`);
      },
    },
    open: async ({ graph, node, options }) => new NullNode(graph, node, name, options as BlockdevOptionsNull),
  };
}

export const nullCoDriver = nullDriver('null-co');
export const nullAioDriver = nullDriver('null-aio');
