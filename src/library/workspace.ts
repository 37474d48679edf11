// What the library works with: one host, one graph of nodes, one set of jobs.

import type { Writable } from 'node:stream';
import type { CompareResult } from '../block/compare.js';
import type { NewImageOptions } from '../block/create.js';
import type { Device } from '../block/device.js';
import { rootOf } from '../block/device.js';
import { Graph } from '../block/graph.js';
import { withLockHolder } from '../block/identity.js';
import type { BlockNode } from '../block/node/node.js';
import { type OpenOptions, openNode } from '../block/open.js';
import type { SalvageReport } from '../block/salvage.js';
import { registerDrivers } from '../drivers/index.js';
import type { Host } from '../host/host.js';
import type { JobEnvironment } from '../jobs/job-type.js';
import type { ConnectQmpOptions, QmpAddress } from '../qmp/client/types.js';
import type { BlockMeasureInfo, ImageInfo, MapEntry, ObjectOptions } from '../schema/generated/types.js';
import { takeSettings, text, wrongType } from '../schema/shape.js';
import { BlockError } from '../util/errors.js';
import { checkBackup, startBackups } from '../workspace/backup.js';
import { startCommit } from '../workspace/commit.js';
import { planCompact, startCompact } from '../workspace/compact.js';
import { checkMirror, startMirror } from '../workspace/mirror.js';
import { takeSnapshots } from '../workspace/snapshot.js';
import { startStream } from '../workspace/stream.js';
import * as byName from './by-name.js';
import { A_SERVICE, anImage, deviceOf, type Image, wrapNode } from './image.js';
import type { Job } from './job.js';
import { type Begun, JobDesk, type JobUse, useAll } from './job-desk.js';
import * as jobShapes from './job-settings.js';
import { allClosed } from './left-open.js';
import type {
  BackupRequest,
  BackupSettings,
  CheckSettings,
  CommitSettings,
  CompactPlan,
  CompactSettings,
  CompareSettings,
  ConvertSettings,
  DdSettings,
  ImageCheckResult,
  ImageName,
  InfoOptions,
  MapSettings,
  MeasuredImage,
  MeasureSettings,
  MirrorSettings,
  RebaseSettings,
  SalvageSettings,
  SnapshotOrder,
  SnapshotSettings,
  StreamImageSettings,
  StreamIntoSettings,
  StreamSettings,
  WorkspaceOptions,
} from './options.js';
import type { QmpClient } from './qmp.js';
import type { NbdService, ServeOptions } from './service.js';
import * as shapes from './settings.js';

/**
 * Images, jobs and services that belong together, on one host. `close` ends all of them, and the host. The functions of the package work on a
 * workspace of their own.
 */
export class Workspace {
  readonly #host: Host;
  readonly #graph: Graph;
  readonly #jobs: JobDesk;
  readonly #services = new Set<NbdService>();
  readonly #clients = new Set<QmpClient>();
  /** Ends attempts to connect to a monitor. */
  readonly #connecting = new AbortController();
  #images = 0;
  /** Calls that leave something open, a job or a service behind: `close` waits for them, and then ends what they made. */
  readonly #beginning = new Set<Promise<unknown>>();
  #closed: Promise<void> | null = null;

  /** Throws `invalid-argument`, `unknown-option`. */
  constructor(host: Host, settings: WorkspaceOptions = {}) {
    if (typeof (host as Host | undefined)?.open !== 'function') throw wrongType('host', 'Host', host);
    const { jobsPerDisk, ...others } = takeSettings(shapes.WORKSPACE, settings, 'settings');
    registerDrivers();
    this.#host = host;
    this.#graph = new Graph(host, { ...others, namesFiles: true });
    this.#jobs = new JobDesk(this.#graph, jobsPerDisk);
  }

  /**
   * Makes an object that options name by its id: credentials (`tls-creds-x509`, `tls-creds-psk`), `secret`, `authz-simple`, `authz-list`,
   * `authz-list-file`. As options, or as text like that of `--object`. Rejects with `invalid-argument`, `exists`, `not-found`, ...
   */
  async addObject(object: string | ObjectOptions): Promise<void> {
    this.#checkOpen();
    await this.#graph.objects.add(shapes.objectOptions(object), true);
  }

  /** Forgets an object; what uses it goes on. Throws `not-found`. */
  removeObject(id: string): void {
    this.#graph.objects.remove(text(id, 'id'));
  }

  /** Opens an image for reading and writing (or with `readOnly`). Rejects with `not-found`, `locked`, `permission`, `invalid-image`, ... */
  async open(image: ImageName, settings: OpenOptions = {}): Promise<Image> {
    const [name, how] = shapes.imageAndOptions(image, settings);
    return this.#begin(async () => {
      const node = await openNode(this.#graph, name, { discard: 'unmap', ...how });
      try {
        if (this.#closed !== null) throw closedError();
        return wrapNode(node, `image${this.#images++}`);
      } catch (error) {
        await this.#graph.release(node);
        throw error;
      }
    });
  }

  /**
   * Makes an image file; one that is there is replaced. A backing file is opened with its chain before that, and closed again; an overlay whose
   * `size` (bytes) is left out is as large. Rejects with `invalid-argument`, `locked`, `no-space`, ..., and for a backing file as `open` does.
   */
  async create(filename: string, options: NewImageOptions): Promise<void> {
    this.#checkOpen();
    await this.#namingHolder(byName.create(this.#graph, filename, options));
  }

  /** What an image is: QAPI `ImageInfo`, with `backingChain` that of the chain, the top first. Opens nothing else. */
  async info(image: ImageName, settings: InfoOptions & { backingChain: true }): Promise<ImageInfo[]>;
  async info(image: ImageName, settings?: InfoOptions): Promise<ImageInfo>;
  async info(image: ImageName, settings: InfoOptions = {}): Promise<ImageInfo | ImageInfo[]> {
    this.#checkOpen();
    return this.#namingHolder(byName.info(this.#graph, image, settings));
  }

  /** The runs of an image (QAPI `MapEntry`), or of the part that `settings` say, in order: which hold data, which are zeroes, where they lie. */
  async *map(image: ImageName, settings: MapSettings = {}): AsyncGenerator<MapEntry> {
    this.#checkOpen();
    try {
      yield* byName.map(this.#graph, image, settings);
    } catch (error) {
      throw await withLockHolder(this.#graph, error);
    }
  }

  /**
   * Checks the consistency of an image's metadata; `findings` has each fault. With `repair`, what is found is repaired, and the image is checked again:
   * `findings` has then what was found before and, without `repairs`, what is still wrong; the figures are those of the image afterwards, with
   * `leaksFixed` and `corruptionsFixed`. Rejects with `unsupported` for raw images, with `data` for all formats
   * whose images have no checksums of their data; a repair also with `no-space`, `locked`: it can be done again then.
   */
  async check(image: ImageName, settings: CheckSettings = {}): Promise<ImageCheckResult> {
    this.#checkOpen();
    return this.#namingHolder(byName.check(this.#graph, image, settings));
  }

  /** Do two images read the same? What one has no data for reads as zeroes. */
  async compare(a: ImageName, b: ImageName, settings: CompareSettings = {}): Promise<CompareResult> {
    this.#checkOpen();
    return this.#namingHolder(byName.compare(this.#graph, a, b, settings));
  }

  /**
   * Copies the content of an image into a new one, of the format that `settings` name (or that are its name), or that the target's name ends with.
   * Rejects with `cancelled` after an abort; the target is incomplete after a failure.
   */
  async convert(source: ImageName, target: string, settings: string | ConvertSettings = {}): Promise<void> {
    this.#checkOpen();
    await this.#namingHolder(byName.convert(this.#graph, source, target, settings));
  }

  /**
   * Writes an image into a stream, from its first byte to its last, without a temporary copy: `diskwright convert IMAGE -`. It is raw, or qcow2 with its tables first, as `settings`
   * say (or which they are: `'qcow2'`). The stream is ended behind the last byte, and destroyed after a failure or an abort. Rejects with `unsupported` for a format, or options, that cannot be
   * written in order, before anything is written; with `cancelled`, and with the stream's own error.
   */
  async streamImage(image: ImageName, target: Writable, settings: string | StreamImageSettings = {}): Promise<void> {
    this.#checkOpen();
    await this.#namingHolder(byName.streamImage(this.#graph, image, target, settings));
  }

  /**
   * Makes an image of the bytes of a stream (a `Readable`, or any async iterable of `Uint8Array`), which are raw: `diskwright convert - IMAGE`. The target grows with them, up to whole sectors
   * (512 bytes); an existing file is replaced. Rejects with `unsupported` for bytes of another format, before there is a target; with `no-space` for more than the `size` that was given, with
   * `cancelled`, and with the stream's own error; then the target is incomplete.
   */
  async streamIntoImage(
    source: AsyncIterable<Uint8Array>,
    target: string,
    settings: string | StreamIntoSettings = {},
  ): Promise<void> {
    this.#checkOpen();
    await this.#namingHolder(byName.streamIntoImage(this.#graph, source, target, settings));
  }

  /**
   * Writes what can be read of a damaged image into a new one, and resolves with what is lost, what is doubtful and what was assumed. The damaged image is
   * only read. Rejects as `convert`, with `unsupported` for a format that cannot be salvaged, and with `invalid-image` where nothing is left to begin with;
   * then the new image is incomplete, or was not made.
   */
  async salvage(image: ImageName, target: string, settings: string | SalvageSettings = {}): Promise<SalvageReport> {
    this.#checkOpen();
    return this.#namingHolder(byName.salvage(this.#graph, image, target, settings));
  }

  /**
   * How large a file must be for a new image, bytes: for an empty one of `create` (a format, or options as those of `create` with its size), or with
   * `settings.image`, for the copy that `convert` makes of that. Nothing is written. `required` is the size at first, `fully-allocated` that once all of
   * the disk is written, `bitmaps` what the persistent bitmaps take on top. Rejects with `unsupported` for a format that cannot say so, `invalid-argument`,
   * `limit`, `cancelled`, and as `open`.
   */
  async measure(create: string | MeasuredImage, settings: MeasureSettings = {}): Promise<BlockMeasureInfo> {
    this.#checkOpen();
    return this.#namingHolder(byName.measure(this.#graph, create, settings));
  }

  /**
   * Gives an image another backing file, of the name that its header will have (a relative one counts from the folder of the image), or with null none. What it reads from its old backing
   * file and would not read from the new one is written into it first, so its content stays. The header changes last: after a failure or an abort the
   * image has its content and its old backing file, and may be larger; the same call goes on with it. Rejects with `unsupported` for a format without
   * backing files, `invalid-argument` for a name or a format that cannot be in the header, a chain that leads to the image itself, and an image with internal snapshots, `cancelled`, and
   * as `open` for both images.
   */
  async rebase(image: ImageName, backing: string | null, settings: RebaseSettings = {}): Promise<void> {
    this.#checkOpen();
    await this.#namingHolder(byName.rebase(this.#graph, image, backing, settings));
  }

  /**
   * Copies the bytes of an image from `from` up to `to` into a new one, of the format that `settings` name (or that are its name), or that the target's
   * name ends with. The new image is as large as what is copied, in whole sectors (512 bytes); an existing file is replaced. Rejects as `convert`, and with `out-of-bounds` where they
   * are not within the source; the target is incomplete after a failure.
   */
  async dd(source: ImageName, target: string, settings: string | DdSettings = {}): Promise<void> {
    this.#checkOpen();
    await this.#namingHolder(byName.dd(this.#graph, source, target, settings));
  }

  /**
   * Keeps the image as it is now: all that is written from now on goes to an overlay in `file`, and the file that was written so far is
   * read-only. Requests may go on meanwhile. Rejects with `busy` (a job works on the image), `locked`, `exists`, `no-space`, ...; then the
   * image goes on in its old file, and what was made of the overlay is gone.
   */
  async snapshot(image: Image, file: string, settings: SnapshotSettings = {}): Promise<void> {
    await this.#takeSnapshots([shapes.snapshotOrder(image, file, settings)]);
  }

  /** Snapshots of several images at one moment. They are one transaction: all are made, or none. */
  async snapshots(orders: readonly SnapshotOrder[]): Promise<void> {
    await this.#takeSnapshots(shapes.snapshotOrders(orders));
  }

  async #takeSnapshots(checked: readonly SnapshotOrder[]): Promise<void> {
    const requests = checked.map(({ image, file, format, nodeName, mode }) => ({
      node: this.#nodeOf(image),
      'snapshot-file': file,
      'snapshot-node-name': nodeName,
      format,
      mode,
    }));
    const images = checked.map(({ image }) => image);
    const releases = useAll(images, 'a snapshot');
    try {
      await this.#begin(() => takeSnapshots(this.#graph, requests));
    } finally {
      for (const release of releases) release();
    }
  }

  /** Starts to pull what the backing files hold into `image`. `base` names the backing file that stays. */
  async stream(image: Image, settings: StreamSettings = {}): Promise<Job> {
    const { args, ...how } = jobShapes.streamSettings(settings);
    const node = this.#nodeOf(image);
    const [job] = await this.#start([{ image, ...how }], 'a stream job', async (env) => [
      { job: await startStream(env, node, args), target: null },
    ]);
    return job;
  }

  /**
   * Starts to give the unused space of the image's file back (qcow2): what lies at its end moves into free places before that, and the file is cut. The image may be used
   * meanwhile, and reads the same whatever happens. An image with errors is refused by the job's error, `corrupt-image`.
   */
  async compact(image: Image, settings: CompactSettings = {}): Promise<Job> {
    const { args, ...how } = jobShapes.compactSettings(settings);
    const node = this.#nodeOf(image);
    const [job] = await this.#start([{ image, ...how }], 'a compact job', async (env) => [
      { job: await startCompact(env, node, args), target: null },
    ]);
    return job;
  }

  /** What `compact` would do with the image, which may be open with `readOnly`. Writes nothing. Rejects with `unsupported`, `corrupt-image`, `limit`, `io`. */
  planCompact(
    image: Image,
    settings: Pick<CompactSettings, 'dedupeBacking' | 'keepZeroes'> = {},
  ): Promise<CompactPlan> {
    const { dedupeBacking, keepZeroes } = jobShapes.compactPlanSettings(settings);
    const node = this.#nodeOf(image);
    return this.#begin(() => planCompact(node, { dedupeBacking, keepZeroes }));
  }

  /**
   * Starts to write `image` (or what lies between `top` and `base`) down into `base`. Of the image itself it is an active commit: it
   * becomes ready, and `complete` puts the base in the image's place.
   */
  async commit(image: Image, settings: CommitSettings = {}): Promise<Job> {
    const { args, ...how } = jobShapes.commitSettings(settings);
    const node = this.#nodeOf(image);
    const [job] = await this.#start([{ image, ...how }], 'a commit job', async (env) => [
      { job: await startCommit(env, node, args), target: null },
    ]);
    return job;
  }

  /**
   * Starts to copy `image` to an existing image, or with `create` to one that is made; what is written meanwhile follows. When it is ready,
   * `complete` puts the target in the image's place.
   */
  async mirror(image: Image, target: ImageName, settings: MirrorSettings = {}): Promise<Job> {
    const { args, target: plan, ...how } = jobShapes.mirrorSettings(target, settings);
    checkMirror(args);
    const node = this.#nodeOf(image);
    const [job] = await this.#start([{ image, ...how }], 'a mirror job', async (env) => [
      await startMirror(env, node, plan, args),
    ]);
    return job;
  }

  /**
   * Starts to copy `image`, as it is now, to an existing image of the same size, or with `create` to one that is made. Guests may go on
   * writing.
   */
  async backup(image: Image, target: ImageName, settings: BackupSettings = {}): Promise<Job> {
    const [job] = await this.#startBackups([jobShapes.backupRequest(image, target, settings)]);
    return job;
  }

  /**
   * Starts backups of several images as they are at one moment. They are one transaction: all succeed, or all fail. Where one fails or is cancelled
   * (a `signal` of one request is enough), `done` of the others rejects with `cancelled`.
   */
  async backups(requests: readonly BackupRequest[]): Promise<Job[]> {
    return this.#startBackups(jobShapes.backupRequests(requests));
  }

  async #startBackups(checked: readonly jobShapes.CheckedBackup[]): Promise<Job[]> {
    this.#checkOpen();
    if (checked.length === 0) return [];
    for (const { image, args, target, clusterBytes } of checked) {
      this.#nodeOf(image);
      checkBackup(args, { format: target.format, clusterBytes });
    }
    return this.#start(checked, 'a backup job', (env) =>
      startBackups(
        env,
        checked.map(({ image, target, args }) => ({ source: this.#nodeOf(image), target, args })),
      ),
    );
  }

  /**
   * Serves an open image by NBD, at a UNIX socket (`path`) or over TCP (`host`, `port`; by default at 127.0.0.1, which no other machine reaches),
   * until the service is closed. Jobs, throttle and the image's own requests go on beside its clients; when a mirror, a commit or a snapshot puts
   * another file in the image's place, the clients go on with that one. Rejects with `invalid-argument`, `busy`, `permission`, ...
   */
  async serve(image: Image, settings: ServeOptions = {}): Promise<NbdService> {
    this.#nodeOf(image);
    const { path, ...others } = shapes.serveOptions(settings);
    // Absolute from here on: the program may change its working directory while the service runs.
    const checked = path === undefined ? others : { ...others, path: this.#host.absolute(path) };
    return this.#begin(() => this.#openService(deviceOf(image), checked));
  }

  async #openService(device: Device, settings: ServeOptions): Promise<NbdService> {
    // Loaded when it is needed: most programs serve nothing.
    const { openService } = await import('./service.js');
    const release = device.use(A_SERVICE);
    try {
      const service = await openService(this.#host, device, settings, () => {
        this.#services.delete(service);
        release();
      });
      this.#services.add(service);
      return service;
    } catch (error) {
      release();
      throw error;
    }
  }

  /**
   * Connects to a QMP monitor, at a UNIX socket (its path), over TCP (`host`, `port`) or over a descriptor: that of Diskwright's daemon, of
   * qemu-storage-daemon or of a machine of QEMU. Rejects with `not-found`, `permission`, `io` (refused, no QMP server), `cancelled` (no greeting within
   * `timeoutMs`, or the signal), `invalid-argument`.
   */
  async connectQmp(address: QmpAddress, settings: ConnectQmpOptions = {}): Promise<QmpClient> {
    return this.#begin(async () => {
      // Loaded when it is needed, as services are.
      const { connectOptions, openQmp, qmpAddress } = await import('./qmp.js');
      const where = qmpAddress(address, (path) => this.#host.absolute(path));
      const { signal, ...how } = connectOptions(settings);
      const signals = [this.#connecting.signal, ...(signal === undefined ? [] : [signal])];
      const over = (client: QmpClient): unknown => this.#clients.delete(client);
      const client = await openQmp(this.#host, where, { ...how, signal: AbortSignal.any(signals) }, over);
      this.#clients.add(client);
      return client;
    });
  }

  /**
   * Ends all services, connections to monitors and jobs, closes all images, and the host. What is being opened or started meanwhile is waited for, and closed, too; calls
   * that come later reject with `closed`.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#graph.abortStalled();
    this.#connecting.abort();
    await this.#endAll();
    while (this.#beginning.size > 0) {
      await Promise.allSettled(this.#beginning);
      await this.#endAll();
    }
    try {
      await this.#graph.closeAll();
    } finally {
      allClosed(this.#graph);
      await this.#host.close();
    }
  }

  async #endAll(): Promise<void> {
    await Promise.all([...this.#services, ...this.#clients].map((one) => one.close()));
    await this.#jobs.endAll();
  }

  #checkOpen(): void {
    if (this.#closed !== null) throw closedError();
  }

  /** Runs what leaves something behind that `close` has to end. Rejects with `closed` once that was called. */
  async #begin<T>(action: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    const begun = this.#namingHolder(action());
    this.#beginning.add(begun);
    const settled = (): void => {
      this.#beginning.delete(begun);
    };
    begun.then(settled, settled);
    return begun;
  }

  /** What `action` resolves with. Where an image lock could not be had, the error says who has it, as far as this workspace knows. */
  async #namingHolder<T>(action: Promise<T>): Promise<T> {
    try {
      return await action;
    } catch (error) {
      throw await withLockHolder(this.#graph, error);
    }
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #start(users: readonly JobUse[], who: string, begin: (env: JobEnvironment) => Promise<Begun[]>): Promise<Job[]> {
    return this.#jobs.start(users, who, (env) => this.#begin(() => begin(env)));
  }

  /** The root node of an image of this workspace. Throws `invalid-argument` for anything else, `closed`. */
  #nodeOf(image: Image): BlockNode {
    const { node } = rootOf(deviceOf(anImage(image, 'image')));
    if (node.graph === this.#graph) return node;
    throw new BlockError('invalid-argument', `'${node.filename}' was opened in another workspace`, {
      path: node.filename,
    });
  }
}

function closedError(): BlockError {
  return new BlockError('closed', 'the workspace is closed');
}
