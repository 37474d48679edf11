// What the library works with: one host, one graph of nodes, one set of jobs.

import { type CompareOptions, type CompareResult, compareNodes } from './block/compare.js';
import { createImage, type ImageCreateOptions } from './block/create.js';
import type { OpenGate } from './block/gate.js';
import { Graph } from './block/graph.js';
import { type CheckResult, consistencyCheckOf, imageInfo } from './block/info.js';
import { mapEntries } from './block/map.js';
import type { BlockNode } from './block/node.js';
import { type OpenOptions, openNode } from './block/open.js';
import { registerDrivers } from './drivers/index.js';
import type { Host } from './host/host.js';
import { checkSpeed } from './host/rate-limit.js';
import { Image } from './image.js';
import { JobHandle } from './job-handle.js';
import { type ConvertOptions, convert } from './jobs/convert.js';
import type { Job } from './jobs/job.js';
import { JobManager } from './jobs/manager.js';
import {
  type BackupArguments,
  type CommitArguments,
  type JobEnvironment,
  type MirrorArguments,
  startBackup,
  startCommit,
  startMirror,
  startStream,
} from './jobs/start.js';
import type { BlockStreamArguments, ImageInfo, MapEntry } from './schema/generated/types.js';
import type { ImageOptions } from './schema/options.js';
import { BlockError } from './util/errors.js';

/** A file name, `json:{...}`, or options as `blockdev-add` has them. */
export type ImageName = string | ImageOptions;

export interface WorkspaceOptions {
  /** Asked before a file is opened that an image names as its backing file. Default: everything may be. */
  gate?: OpenGate;
  /** Gets warnings of one line. */
  warn?: (message: string) => void;
}

export interface InfoOptions extends OpenOptions {
  /** The image, its backing file and so on. */
  backingChain?: boolean;
}

export interface ConvertSettings
  extends Pick<
    ConvertOptions,
    'sparseSize' | 'compress' | 'parallel' | 'salvage' | 'onSalvaged' | 'speed' | 'signal' | 'onProgress'
  > {
  /** How the source is opened. */
  source?: OpenOptions;
  /** The image to be made; `size` is the source's where it is left out. */
  target: ImageCreateOptions extends infer T
    ? T extends { size: number }
      ? Omit<T, 'size'> & { size?: number }
      : T
    : never;
}

export interface JobTargetOptions {
  /** Format of the target; found out where it is left out. */
  format?: string;
}

/** Everything of it is closed with `close`. The functions of the package work on one of their own. */
export class Workspace {
  readonly host: Host;
  readonly #graph: Graph;
  readonly #manager: JobManager;
  #images = 0;

  constructor(host: Host, options: WorkspaceOptions = {}) {
    registerDrivers();
    this.host = host;
    this.#graph = new Graph(host, options);
    this.#manager = new JobManager(host.clock);
  }

  /** Opens an image for reading and writing (or with `readOnly`). Rejects with `not-found`, `locked`, `permission`, `invalid-image`, ... */
  async open(image: ImageName, options: OpenOptions = {}): Promise<Image> {
    const node = await openNode(this.#graph, image, { discard: 'unmap', ...options });
    try {
      return new Image(node, `image${this.#images++}`);
    } catch (error) {
      await this.#graph.release(node);
      throw error;
    }
  }

  /** Makes an image file; one that is there is replaced. Rejects with `invalid-argument`, `locked`, `no-space`, ... */
  async create(filename: string, options: ImageCreateOptions): Promise<void> {
    await createImage(this.#graph, filename, options);
  }

  /** What an image is: QAPI `ImageInfo`, with `backingChain` that of the chain, the top first. Opens nothing else. */
  async info(image: ImageName, options: InfoOptions & { backingChain: true }): Promise<ImageInfo[]>;
  async info(image: ImageName, options?: InfoOptions): Promise<ImageInfo>;
  async info(image: ImageName, options: InfoOptions = {}): Promise<ImageInfo | ImageInfo[]> {
    const { backingChain = false, ...open } = options;
    return this.#with(image, { ...open, backing: backingChain }, async (node) => {
      if (!backingChain) return imageInfo(node);
      const infos: ImageInfo[] = [];
      for (let at: BlockNode | null = node; at !== null; at = at.backing?.node ?? null) infos.push(await imageInfo(at));
      return infos;
    });
  }

  /** The runs of an image (QAPI `MapEntry`), in order: which hold data, which are zeroes, where they lie. */
  async *map(image: ImageName, options: OpenOptions = {}): AsyncGenerator<MapEntry> {
    const node = await openNode(this.#graph, image, { ...options, readOnly: true });
    try {
      yield* mapEntries(node, 0, node.length);
    } finally {
      await this.#graph.release(node);
    }
  }

  /** Checks the consistency of an image's metadata; `findings` has one line for each fault. Rejects with `unsupported` for raw images. */
  async check(image: ImageName, options: OpenOptions = {}): Promise<CheckResult & { findings: string[] }> {
    return this.#with(image, options, async (node) => {
      const check = consistencyCheckOf(node);
      if (check === null) {
        throw new BlockError('unsupported', `${node.filename}: This image format does not support checks`, {
          path: node.filename,
          operation: 'check',
        });
      }
      const findings: string[] = [];
      const result = await check((finding) => findings.push(finding));
      return { ...result, findings };
    });
  }

  /** Do two images read the same? What one has no data for reads as zeroes. */
  async compare(a: ImageName, b: ImageName, options: CompareOptions = {}): Promise<CompareResult> {
    return this.#with(a, {}, (left) => this.#with(b, {}, (right) => compareNodes(left, right, options)));
  }

  /** Copies the content of an image into a new one. Rejects with `cancelled` after an abort; the target is incomplete after a failure. */
  async convert(source: ImageName, target: string, settings: ConvertSettings): Promise<void> {
    const { source: open = {}, target: made, ...options } = settings;
    // Before a file is replaced.
    checkSpeed(options.speed ?? 0);
    await this.#with(source, open, async (from) => {
      const create = { size: from.length, ...made } as ImageCreateOptions;
      await createImage(this.#graph, target, create);
      const node = await openNode(this.#graph, target, { format: create.driver, discard: 'unmap' });
      try {
        await convert({
          ...options,
          source: from,
          target: node,
          targetIsZero: node.backing === null ? true : undefined,
          base: node.backing === null ? undefined : (from.backing?.node ?? undefined),
        });
      } catch (error) {
        await this.#graph.release(node).catch(() => undefined);
        throw error;
      }
      await this.#graph.release(node);
    });
  }

  /** Starts to pull what the backing files hold into `image`. `base` names the backing file that stays. */
  async stream(image: Image, args: Omit<BlockStreamArguments, 'device'> = {}): Promise<JobHandle> {
    return this.#handle(await startStream(this.#environment, { ...args, device: image.node.nodeName }));
  }

  /**
   * Starts to write `image` (or what lies between `top` and `base`) down into `base`. Of the image itself it is an active commit: it
   * becomes ready, and `complete` puts the base in the image's place.
   */
  async commit(image: Image, args: Omit<CommitArguments, 'device'> = {}): Promise<JobHandle> {
    return this.#handle(await startCommit(this.#environment, { ...args, device: image.node.nodeName }));
  }

  /** Starts to copy `image` to an image that is there; what is written meanwhile follows. When it is ready, `complete` pivots to the target. */
  async mirror(
    image: Image,
    target: ImageName,
    args: Omit<MirrorArguments, 'device' | 'target'> & JobTargetOptions,
  ): Promise<JobHandle> {
    const { format, ...rest } = args;
    return this.#toTarget(target, format, args.sync, (name) =>
      startMirror(this.#environment, { ...rest, device: image.node.nodeName, target: name }),
    );
  }

  /** Starts to copy `image`, as it is now, to an image that is there and of the same size. Guests may go on writing. */
  async backup(
    image: Image,
    target: ImageName,
    args: Omit<BackupArguments, 'device' | 'target'> & JobTargetOptions,
  ): Promise<JobHandle> {
    const { format, ...rest } = args;
    return this.#toTarget(target, format, args.sync, (name) =>
      startBackup(this.#environment, { ...rest, device: image.node.nodeName, target: name }),
    );
  }

  /** Cancels all jobs, closes all images, and the host. */
  async close(): Promise<void> {
    await this.#manager.cancelAll();
    try {
      await this.#graph.closeAll();
    } finally {
      await this.host.close();
    }
  }

  get #environment(): JobEnvironment {
    return { graph: this.#graph, manager: this.#manager };
  }

  #handle(job: Job, target?: BlockNode): JobHandle {
    return new JobHandle(job, async () => {
      if (target !== undefined) await this.#graph.release(target);
    });
  }

  async #toTarget(
    target: ImageName,
    format: string | undefined,
    sync: string,
    start: (nodeName: string) => Promise<Job>,
  ): Promise<JobHandle> {
    const node = await openNode(this.#graph, target, { format, discard: 'unmap', backing: sync !== 'none' });
    try {
      return this.#handle(await start(node.nodeName), node);
    } catch (error) {
      await this.#graph.release(node).catch(() => undefined);
      throw error;
    }
  }

  async #with<T>(image: ImageName, options: OpenOptions, action: (node: BlockNode) => Promise<T>): Promise<T> {
    const node = await openNode(this.#graph, image, { ...options, readOnly: true });
    try {
      return await action(node);
    } finally {
      await this.#graph.release(node);
    }
  }
}
