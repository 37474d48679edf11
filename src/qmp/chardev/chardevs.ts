// The character devices of a daemon, by their names.
//
//   --chardev, chardev-add --> settings --> backend (opened at once) <-- a monitor comes to it (`attach`), one at most

import type { LogFile } from '../../host/character.js';
import type { ChardevInfo, ChardevReturn } from '../../schema/generated/types.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import type { ChardevBackend, ChardevSurroundings, ChardevUser } from './backend.js';
import { RingBackend } from './ringbuf.js';
import type { ChardevSettings } from './settings.js';
import { SocketBackend } from './socket.js';
import { NullBackend, StreamsBackend, TerminalBackend } from './streams.js';

/** The error of a device that could not be made. */
export type Failed = (error: BlockError) => BlockError;

/** Each holds a descriptor, or memory. */
const MAX_CHARDEVS = 1024;

interface Chardev {
  kind: ChardevSettings['backend'];
  backend: ChardevBackend;
  /** Null: there is none. */
  log: LogFile | null;
  user: ChardevUser | null;
}

export class Chardevs {
  readonly #around: ChardevSurroundings;
  readonly #chardevs = new Map<string, Chardev>();

  constructor(around: ChardevSurroundings) {
    this.#around = around;
  }

  /**
   * Opens a device. Resolves with the path of a pseudo terminal. Rejects with `exists`, and with what `failed` makes of the error where it cannot be made: `limit` (too many), `busy` (standard input and output are
   * taken), what `settings` throws, and what opening rejects with.
   */
  async add(id: string, settings: () => ChardevSettings, failed: Failed): Promise<ChardevReturn> {
    if (this.#chardevs.has(id)) throw new BlockError('exists', `Chardev with id '${id}' already exists`);
    if (this.#chardevs.size >= MAX_CHARDEVS) {
      throw failed(new BlockError('limit', `There are ${MAX_CHARDEVS} character devices: no more can be made`));
    }
    try {
      const made = this.#make(id, settings());
      this.#chardevs.set(id, made);
      try {
        await made.backend.open();
        return returnOf(made);
      } catch (error) {
        if (this.#chardevs.get(id) === made) this.#chardevs.delete(id);
        made.log?.close();
        throw error;
      }
    } catch (thrown) {
      throw failed(toBlockError(thrown));
    }
  }

  /** Opens another device, which takes the name. Rejects with `not-found`, `busy`, and as `add`: then the present one stays. */
  async change(id: string, settings: () => ChardevSettings, failed: Failed): Promise<ChardevReturn> {
    const present = this.#chardevs.get(id);
    if (present === undefined) throw new BlockError('not-found', `Chardev '${id}' does not exist`);
    const check = (): void => {
      if (present.user !== null) throw new BlockError('busy', 'Chardev user does not support chardev hotswap');
    };
    check();
    let made: Chardev;
    try {
      made = this.#make(id, settings());
      await made.backend.open().catch((error: unknown) => {
        made.log?.close();
        throw error;
      });
    } catch (thrown) {
      throw failed(toBlockError(thrown));
    }
    try {
      // Somebody may have come to it meanwhile, or it may have been removed.
      check();
      if (this.#chardevs.get(id) !== present) throw new BlockError('not-found', `Chardev '${id}' does not exist`);
    } catch (error) {
      await closeOne(made);
      throw error;
    }
    this.#chardevs.set(id, made);
    await closeOne(present);
    return returnOf(made);
  }

  /** Rejects with `not-found`, `busy`. */
  async remove(id: string): Promise<void> {
    const found = this.#find(id);
    if (found.user !== null) throw new BlockError('busy', `Chardev '${id}' is busy`);
    this.#chardevs.delete(id);
    await closeOne(found);
  }

  /** Puts a user to a device. Throws `not-found`, `busy`. */
  attach(id: string, user: ChardevUser): void {
    const found = this.#chardevs.get(id);
    if (found === undefined) throw new BlockError('not-found', `chardev "${id}" not found`);
    if (found.user !== null) throw new BlockError('busy', `Device '${id}' is in use`);
    found.user = user;
    found.backend.attach(user, found.log);
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
    await Promise.all(all.map(closeOne));
  }

  #find(id: string): Chardev {
    const found = this.#chardevs.get(id);
    if (found === undefined) throw new BlockError('not-found', `Chardev '${id}' not found`);
    return found;
  }

  #make(id: string, settings: ChardevSettings): Chardev {
    const taken = [...this.#chardevs.values()].some(({ kind }) => kind === 'stdio');
    if (settings.backend === 'stdio' && taken) {
      throw new BlockError('busy', 'cannot use stdio by multiple character devices');
    }
    const { log: wanted } = settings;
    const backend = backendOf(this.#around, settings, id);
    const log = wanted === null ? null : this.#around.host.characters.openLog(wanted.path, wanted.append);
    return { kind: settings.backend, backend, log, user: null };
  }
}

async function closeOne({ backend, log }: Chardev): Promise<void> {
  try {
    await backend.close();
  } finally {
    log?.close();
  }
}

function returnOf({ backend: { path } }: Chardev): ChardevReturn {
  return path === undefined ? {} : { pty: path };
}

function backendOf(around: ChardevSurroundings, settings: ChardevSettings, id: string): ChardevBackend {
  const { characters } = around.host;
  switch (settings.backend) {
    case 'socket':
      return new SocketBackend(around, settings, id);
    case 'file': {
      const { out, append, input } = settings;
      return new StreamsBackend('file', () => characters.openFiles(out, append, input));
    }
    case 'pipe':
      return new StreamsBackend('pipe', () => characters.openPipes(settings.path));
    case 'stdio':
      return new StreamsBackend('stdio', () => characters.standard(), true);
    case 'pty':
      return new TerminalBackend(characters);
    case 'null':
      return new NullBackend();
    case 'ringbuf':
    case 'memory':
      return new RingBackend(settings.backend, settings.bytes);
  }
}
