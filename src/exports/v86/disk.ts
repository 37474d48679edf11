// A Diskwright image as a disk of v86, the x86 emulator in JavaScript: `new V86({hda: disk})`. v86 takes any object with `load`, `get`
// and `set` for a disk; this one has them over a device. v86 itself is not needed here: what it calls, and what is called of it, is declared below.
//
//   guest -> v86's IDE controller -> V86Disk -> RequestQueue -> Device -> node      jobs, throttle, snapshots: as for every device
//
// v86 tells its guest that the disk has no write cache, and hands on no flush: so a write is made durable before it is answered, unless
// the caller says otherwise. And it has no way to take an error: a request that fails is not answered, the emulator is stopped.

import { Device } from '../../block/device.js';
import { callback, choice, instance, type Shape, takeSettings } from '../../schema/shape.js';
import { bestEffort, detach } from '../../util/best-effort.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { SECTOR_BYTES } from '../../util/numbers.js';
import { contentDigest } from './digest.js';
import { RequestQueue } from './queue.js';

/** What the adapter calls of an emulator (v86's `V86` has it). */
export interface V86Emulator {
  stop(): unknown;
  run(): unknown;
}

export interface V86DiskOptions {
  /**
   * `writethrough` (default): a write is durable when it is answered, which is what v86 tells its guest of the disk. `writeback`: it is
   * durable after `flush()`, or after `flushEveryMs`.
   */
  cache?: 'writethrough' | 'writeback';
  /** For `writeback`: what was written is flushed after this time at the latest. Milliseconds. Default: only `flush()` does it. */
  flushEveryMs?: number;
  /** Called with the error of each request that failed; that one, and all after it, are held until `retry()`. */
  onError?: (error: BlockError) => void;
}

const OPTIONS: Shape<V86DiskOptions> = {
  cache: choice('writethrough', 'writeback'),
  flushEveryMs: (value, path) => {
    if (typeof value === 'number' && value > 0 && value <= MAX_FLUSH_MS) return value;
    throw new BlockError('invalid-argument', `Parameter '${path}' is a time above 0 and up to ${MAX_FLUSH_MS} ms`);
  },
  onError: callback(),
};
/** What a timer can be set to. */
const MAX_FLUSH_MS = 2 ** 31 - 1;
/** Writes that v86 has answered before they are done: beyond this the guest is stopped for a while ... */
const PAUSE_BYTES = 16 << 20;
/** ... until there are no more than these ... */
const RESUME_BYTES = 4 << 20;
/** ... and beyond this the guest has not been stopped in time: the disk takes no more requests. */
const LIMIT_BYTES = 128 << 20;

/** First element of what `get_state` returns. */
const STATE_MARK = 'diskwright-disk-1';

export class V86Disk {
  /** Set by v86: called when `load` is done. */
  onload: ((event: object) => void) | undefined = undefined;
  /** Set by v86, not called: there is nothing to wait for. */
  onprogress: ((event: object) => void) | undefined = undefined;

  readonly #device: Device;
  readonly #options: V86DiskOptions;
  readonly #queue: RequestQueue;
  readonly #release: () => void;
  #emulator: V86Emulator | null = null;
  /** The guest was stopped until some of its writes are done. */
  #paused = false;
  /** For good: closed, overrun, or a state was refused. */
  #dead: BlockError | null = null;
  /** v86 asks for the first sector without waiting, to find out the geometry. */
  #firstSector: Uint8Array | null = null;
  #cancelTimer: (() => void) | null = null;
  /** Digest of the content, and the number of changes of the device then. */
  #digest: { text: string; changes: number } | null = null;

  /** Throws `invalid-argument` for options that contradict each other. */
  constructor(device: Device, options: V86DiskOptions = {}) {
    instance(Device, 'Image')(device, 'image');
    const checked = takeSettings(OPTIONS, options, 'settings');
    const { cache = 'writethrough', flushEveryMs } = checked;
    if (flushEveryMs !== undefined && cache === 'writethrough') {
      throw new BlockError('invalid-argument', "'flushEveryMs' takes cache 'writeback'");
    }
    this.#device = device;
    this.#options = checked;
    this.#release = device.use("an emulator's disk");
    this.#queue = new RequestQueue(device, {
      writethrough: cache === 'writethrough',
      failed: (error) => this.#failed(error),
      grown: () => this.#holdBack(),
      shrunk: () => this.#letGo(),
    });
  }

  // ---- ours -----------------------------------------------------------------------------------------------------

  /**
   * The emulator that runs on this disk. It is stopped where a request fails, and for a while where its guest writes faster than the image
   * takes it.
   */
  attach(emulator: V86Emulator): void {
    callback()((emulator as V86Emulator | null)?.stop, 'emulator.stop');
    callback()(emulator.run, 'emulator.run');
    this.#emulator = emulator;
  }

  /** The error of the request that is held, for which all others wait. Null: none is held. */
  get error(): BlockError | null {
    return this.#dead ?? this.#queue.error;
  }

  /** Tries the held requests again, for instance when there is space again. The caller runs the emulator again. Throws `bad-state` where no request can be held. */
  retry(): void {
    if (this.#dead !== null)
      throw new BlockError('bad-state', 'the disk takes no more requests', { cause: this.#dead });
    this.#queue.retry();
  }

  /** Resolves when all that the guest has written is durable. Rejects with the error of a held request, and with `closed`. */
  flush(): Promise<void> {
    return this.#dead !== null ? Promise.reject(this.#dead) : this.#queue.flush();
  }

  /**
   * Before `save_state` and `restore_state`, with the emulator stopped: waits for the guest's last requests, makes them durable and reads
   * the disk through, so that the state can say which content it belongs to. Rejects with `bad-state` where the guest is not stopped.
   */
  async prepareState(): Promise<void> {
    this.#paused = false;
    await this.flush();
    const changes = this.#changes();
    const text = await contentDigest(this.#device);
    if (changes !== this.#changes() || !this.#queue.idle) {
      throw new BlockError('bad-state', 'the disk was written to meanwhile: stop the emulator first');
    }
    this.#digest = { text, changes };
  }

  /** Makes everything durable and takes no more requests. The image stays open. Rejects with the error of a held request. */
  async close(): Promise<void> {
    if (this.#dead?.code === 'closed') return;
    try {
      await this.flush();
    } finally {
      this.#dead ??= new BlockError('closed', 'the disk is closed');
      this.#release();
      this.#queue.drop();
      this.#cancelTimer?.();
      this.#cancelTimer = null;
    }
  }

  // ---- what v86 calls -------------------------------------------------------------------------------------------

  /** Size in bytes. */
  get byteLength(): number {
    return this.#device.length;
  }

  load(): void {
    const first = Math.min(SECTOR_BYTES, this.byteLength);
    this.get(0, first, (data) => {
      this.#firstSector = data;
      this.onload?.({});
    });
  }

  /** `answer` is called once, later, with `length` bytes from `offset`; never where the read fails. */
  get(offset: number, length: number, answer: (data: Uint8Array) => void): void {
    if (this.#alive()) this.#queue.read(offset, length, answer);
  }

  get_and_cache(offset: number, length: number, answer: (data: Uint8Array) => void): void {
    this.get(offset, length, answer);
  }

  /** The first sector, where it is known; undefined for everything else. */
  get_from_cache(offset: number, length: number): Uint8Array | undefined {
    return offset === 0 && length === this.#firstSector?.length ? this.#firstSector : undefined;
  }

  /** Writes `data`, which v86 may use again at once. `answer` is called once, later; never where the write fails. */
  set(offset: number, data: Uint8Array, answer: () => void): void {
    if (!this.#alive()) return;
    if (offset < SECTOR_BYTES) this.#firstSector = null;
    this.#queue.write(offset, data, () => {
      this.#armTimer();
      answer();
    });
  }

  /** What `save_state` keeps of the disk: not its bytes, but which they are. Throws `bad-state` without `prepareState`. */
  get_state(): unknown[] {
    return [STATE_MARK, this.#knownDigest(), this.byteLength, this.#device.filename];
  }

  /** Throws `invalid-argument` where the state belongs to another disk, or to this one at another time; the disk takes no requests then. */
  set_state(state: readonly unknown[]): void {
    try {
      this.#compare(state);
    } catch (error) {
      this.#giveUp(toBlockError(error));
      throw error;
    }
  }

  // ---------------------------------------------------------------------------------------------------------------

  #compare(state: readonly unknown[] | undefined): void {
    const { filename } = this.#device;
    const wrong = (why: string) => BlockError.at(filename, 'invalid-argument', why);
    if (!Array.isArray(state) || state[0] !== STATE_MARK)
      throw wrong('the state was saved with a disk of another kind');
    const [, digest, length, name] = state;
    if (length !== this.byteLength) {
      throw wrong(`the state belongs to '${name}' of ${length} bytes, this disk has ${this.byteLength}`);
    }
    if (digest !== this.#knownDigest()) {
      throw wrong(`the state belongs to '${name}' as it was when it was saved, which this disk does not hold`);
    }
  }

  #knownDigest(): string {
    if (this.#digest === null || this.#digest.changes !== this.#changes() || !this.#queue.idle) {
      const why = 'stop the emulator and call prepareState() of this disk first';
      throw BlockError.at(this.#device.filename, 'bad-state', why);
    }
    return this.#digest.text;
  }

  /** Grows with each change of the content through this device. */
  #changes(): number {
    const { writeOperations, unmapOperations } = this.#device.stats;
    return writeOperations + unmapOperations;
  }

  #alive(): boolean {
    if (this.#dead === null) return true;
    if (this.#dead.code === 'closed') this.#failed(this.#dead);
    return false;
  }

  #giveUp(error: BlockError): void {
    this.#dead = error;
    this.#queue.stop(error);
    this.#queue.drop();
  }

  #failed(error: BlockError): void {
    this.#paused = false;
    void this.#emulator?.stop();
    this.#options.onError?.(error);
  }

  /** Stops the guest where too many of its writes wait. */
  #holdBack(): void {
    const { queuedBytes } = this.#queue;
    if (queuedBytes > LIMIT_BYTES) {
      this.#giveUp(new BlockError('limit', `${queuedBytes} bytes that the guest has written wait for the image`));
    } else if (queuedBytes > PAUSE_BYTES && !this.#paused && this.error === null && this.#emulator !== null) {
      this.#paused = true;
      detach('v86 disk', Promise.resolve(this.#emulator.stop()));
    }
  }

  /** Lets the guest go on where `#holdBack` stopped it. */
  #letGo(): void {
    if (!this.#paused || this.#queue.queuedBytes > RESUME_BYTES) return;
    this.#paused = false;
    detach('v86 disk', Promise.resolve(this.#emulator?.run()));
  }

  #armTimer(): void {
    const { flushEveryMs } = this.#options;
    if (flushEveryMs === undefined || this.#cancelTimer !== null || this.#dead !== null) return;
    this.#cancelTimer = this.#device.host.clock.timer(flushEveryMs, () => {
      this.#cancelTimer = null;
      // Where it fails, `onError` is called.
      this.flush().catch(bestEffort('v86 disk'));
    });
  }
}
