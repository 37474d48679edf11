// The character devices of a daemon, by their names.
//
//   --chardev, chardev-add --> settings --> backend (opened at once) <-- a monitor comes to it (`attach`), one at most

import { openFileStreams, openPipeStreams, standardStreams } from '../../host/real/character.js';
import type { ChardevInfo } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import type { ChardevBackend, ChardevSurroundings, ChardevUser } from './backend.js';
import { RingBackend } from './ringbuf.js';
import type { ChardevSettings } from './settings.js';
import { SocketBackend } from './socket.js';
import { NullBackend, StreamsBackend } from './streams.js';

/** The error of a device that could not be made. */
export type Failed = (error: BlockError) => BlockError;

/** Each holds a descriptor, or memory. */
const MAX_CHARDEVS = 1024;

interface Chardev {
  kind: ChardevSettings['backend'];
  backend: ChardevBackend;
  user: ChardevUser | null;
}

export class Chardevs {
  readonly #around: ChardevSurroundings;
  readonly #chardevs = new Map<string, Chardev>();

  constructor(around: ChardevSurroundings) {
    this.#around = around;
  }

  /**
   * Opens a device. Rejects with `exists`, and with what `failed` makes of the error where it cannot be made: `limit` (too many), `busy` (standard input and output are
   * taken), what `settings` throws, and what opening rejects with.
   */
  async add(id: string, settings: () => ChardevSettings, failed: Failed): Promise<void> {
    if (this.#chardevs.has(id)) throw new BlockError('exists', `Chardev with id '${id}' already exists`);
    if (this.#chardevs.size >= MAX_CHARDEVS) {
      throw failed(new BlockError('limit', `There are ${MAX_CHARDEVS} character devices: no more can be made`));
    }
    try {
      const made = this.#make(settings());
      this.#chardevs.set(id, made);
      try {
        await made.backend.open();
      } catch (error) {
        if (this.#chardevs.get(id) === made) this.#chardevs.delete(id);
        throw error;
      }
    } catch (thrown) {
      throw failed(toBlockError(thrown));
    }
  }

  /** Opens another device, which takes the name. Rejects with `not-found`, `busy`, and as `add`: then the present one stays. */
  async change(id: string, settings: () => ChardevSettings, failed: Failed): Promise<void> {
    const present = this.#chardevs.get(id);
    if (present === undefined) throw new BlockError('not-found', `Chardev '${id}' does not exist`);
    const check = (): void => {
      if (present.user !== null) throw new BlockError('busy', 'Chardev user does not support chardev hotswap');
    };
    check();
    let made: Chardev;
    try {
      made = this.#make(settings());
      await made.backend.open();
    } catch (thrown) {
      throw failed(toBlockError(thrown));
    }
    try {
      // Somebody may have come to it meanwhile, or it may have been removed.
      check();
      if (this.#chardevs.get(id) !== present) throw new BlockError('not-found', `Chardev '${id}' does not exist`);
    } catch (error) {
      await made.backend.close();
      throw error;
    }
    this.#chardevs.set(id, made);
    await present.backend.close();
  }

  /** Rejects with `not-found`, `busy`. */
  async remove(id: string): Promise<void> {
    const found = this.#find(id);
    if (found.user !== null) throw new BlockError('busy', `Chardev '${id}' is busy`);
    this.#chardevs.delete(id);
    await found.backend.close();
  }

  /** Puts a user to a device. Throws `not-found`, `busy`. */
  attach(id: string, user: ChardevUser): void {
    const found = this.#chardevs.get(id);
    if (found === undefined) throw new BlockError('not-found', `chardev "${id}" not found`);
    if (found.user !== null) throw new BlockError('busy', `Device '${id}' is in use`);
    found.user = user;
    found.backend.attach(user);
  }

  /** A break is of no meaning to any of these devices. Throws `not-found`. */
  sendBreak(id: string): void {
    this.#find(id);
  }

  /** Throws `not-found`, `invalid-argument`. */
  ringbuf(id: string): RingBackend {
    const found = this.#chardevs.get(id);
    if (found === undefined) throw new BlockError('not-found', `Device '${id}' not found`);
    if (found.backend instanceof RingBackend) return found.backend;
    throw new BlockError('invalid-argument', `${id} is not a ringbuf device`);
  }

  /** Those that have connections, each with what cuts these. */
  get cutters(): ReadonlyMap<string, () => void> {
    return new Map(
      [...this.#chardevs].flatMap(([id, { backend }]) =>
        backend.cut === undefined ? [] : [[id, () => backend.cut?.()]],
      ),
    );
  }

  /** The newest first. */
  list(): ChardevInfo[] {
    return [...this.#chardevs]
      .map(([label, { backend, user }]) => ({ label, filename: backend.filename, 'frontend-open': user !== null }))
      .reverse();
  }

  /** Closes all devices; one that is being opened is given up. What users have of them is theirs to close. */
  async close(): Promise<void> {
    const all = [...this.#chardevs.values()];
    this.#chardevs.clear();
    await Promise.all(all.map(({ backend }) => backend.close()));
  }

  #find(id: string): Chardev {
    const found = this.#chardevs.get(id);
    if (found === undefined) throw new BlockError('not-found', `Chardev '${id}' not found`);
    return found;
  }

  #make(settings: ChardevSettings): Chardev {
    const taken = [...this.#chardevs.values()].some(({ kind }) => kind === 'stdio');
    if (settings.backend === 'stdio' && taken) {
      throw new BlockError('busy', 'cannot use stdio by multiple character devices');
    }
    return { kind: settings.backend, backend: backendOf(this.#around, settings), user: null };
  }
}

function backendOf(around: ChardevSurroundings, settings: ChardevSettings): ChardevBackend {
  switch (settings.backend) {
    case 'socket':
      return new SocketBackend(around, settings);
    case 'file': {
      const { out, append, input } = settings;
      return new StreamsBackend('file', () => openFileStreams(out, append, input));
    }
    case 'pipe':
      return new StreamsBackend('pipe', () => openPipeStreams(settings.path));
    case 'stdio':
      return new StreamsBackend('stdio', standardStreams, true);
    case 'null':
      return new NullBackend();
    case 'ringbuf':
    case 'memory':
      return new RingBackend(settings.backend, settings.bytes);
  }
}
