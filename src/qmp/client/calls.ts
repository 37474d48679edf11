// Commands of a client that have not been answered yet: which answer belongs to which.
//
//   begin -> {execute, arguments, id} -> server -> {return | error, id} -> settle

import { cancelledError, refuseAborted } from '../../util/abort.js';
import { BlockError, type BlockErrorCode } from '../../util/errors.js';

/** Commands that may wait for their answers at one time. */
const MAX_CALLS = 1024;

/** QMP's classes that have a code of their own; every other one is `refused`. */
const CODES: Readonly<Record<string, BlockErrorCode>> = {
  CommandNotFound: 'unsupported',
  DeviceNotFound: 'device-not-found',
  DeviceNotActive: 'not-active',
};

interface Call {
  command: string;
  outOfBand: boolean;
  resolve(value: unknown): void;
  reject(error: BlockError): void;
}

export class Calls {
  readonly #calls = new Map<number, Call>();
  #ids = 0;

  /** Waits for an answer; `send` gets the id that it comes with. Rejects with what the server says, `limit`, `cancelled`. */
  async begin(command: string, outOfBand: boolean, signal: AbortSignal | undefined, send: (id: number) => void) {
    refuseAborted(signal);
    if (this.#calls.size >= MAX_CALLS) {
      throw new BlockError('limit', `${MAX_CALLS} commands wait for their answers already`, { operation: 'qmp' });
    }
    const id = this.#ids++;
    let cancel = (): void => undefined;
    try {
      return await new Promise<unknown>((resolve, reject) => {
        this.#calls.set(id, { command, outOfBand, resolve, reject });
        cancel = () => reject(cancelledError(signal?.reason));
        signal?.addEventListener('abort', cancel, { once: true });
        send(id);
      });
    } finally {
      signal?.removeEventListener('abort', cancel);
      // One that was cancelled stays: its answer still comes, and counts until then.
      if (signal?.aborted !== true) this.#calls.delete(id);
    }
  }

  /** Takes an answer. False where nobody has asked for it. */
  settle(message: Readonly<Record<string, unknown>>): boolean {
    // A message that the server could not read has no id: then the answer is about the oldest command in turn.
    const id = 'id' in message ? message['id'] : [...this.#calls].find(([, call]) => !call.outOfBand)?.[0];
    const call = typeof id === 'number' ? this.#calls.get(id) : undefined;
    if (call === undefined) return false;
    this.#calls.delete(id as number);
    if ('return' in message) call.resolve(message['return']);
    else call.reject(refusalOf(call.command, message['error']));
    return true;
  }

  /** The connection has ended: no answer comes any more. */
  fail(why: (command: string) => BlockError): void {
    for (const call of this.#calls.values()) call.reject(why(call.command));
    this.#calls.clear();
  }
}

function refusalOf(command: string, error: unknown): BlockError {
  const { class: qmpClass = 'GenericError', desc = 'the server gave no reason' } = (error ?? {}) as {
    class?: unknown;
    desc?: unknown;
  };
  return new BlockError(CODES[String(qmpClass)] ?? 'refused', String(desc), {
    operation: command,
    qmpClass: String(qmpClass),
  });
}
