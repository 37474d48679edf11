// Connects to a monitor: socket, greeting and negotiation, within one time limit.

import type { Host } from '../../host/host.js';
import type { Link, NetAddress } from '../../host/net.js';
import { addressText } from '../../host/net-address.js';
import { cancelledError, refuseAborted } from '../../util/abort.js';
import { bestEffort, detach } from '../../util/best-effort.js';
import { BlockError } from '../../util/errors.js';
import { Client, type Greeting } from './client.js';
import type { ConnectQmpOptions } from './types.js';

const DEFAULT_TIMEOUT_MS = 10_000;

/** Rejects with `not-found`, `permission`, `io` (refused, no QMP server), `cancelled` (time limit, signal). */
export async function connectClient(
  host: Host,
  address: NetAddress,
  { timeoutMs = DEFAULT_TIMEOUT_MS, signal }: ConnectQmpOptions,
): Promise<{ client: Client; greeting: Greeting }> {
  refuseAborted(signal);
  const giveUp = new GivenUp(host, addressText(address), timeoutMs, signal);
  let client: Client | null = null;
  try {
    client = await clientOver(host, host.net.connect(address, { timeoutMs }), giveUp);
    return { client, greeting: await Promise.race([client.negotiate(), giveUp.reached]) };
  } catch (error) {
    await client?.close(false);
    throw error;
  } finally {
    giveUp.stop();
  }
}

/** A client over the link that is being made. */
async function clientOver(host: Host, connecting: Promise<Link>, giveUp: GivenUp): Promise<Client> {
  let link: Link;
  try {
    link = await Promise.race([connecting, giveUp.reached]);
  } catch (error) {
    // A link that comes later has nobody.
    connecting.then((late) => late.close()).catch(bestEffort('QMP client'));
    throw error;
  }
  try {
    return new Client(host, link);
  } catch (error) {
    detach('QMP client', link.close());
    throw error;
  }
}

/** Rejects at the time limit, or when the signal is aborted. */
class GivenUp {
  readonly reached: Promise<never>;
  readonly #signal: AbortSignal | undefined;
  #stopTimer = (): void => undefined;
  #cancel = (): void => undefined;

  constructor(host: Host, where: string, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.reached = new Promise((_, reject) => {
      this.#cancel = () => reject(cancelledError(signal?.reason));
      signal?.addEventListener('abort', this.#cancel, { once: true });
      if (timeoutMs > 0) this.#stopTimer = host.clock.timer(timeoutMs, () => reject(silent(where, timeoutMs)));
    });
    // `connectClient` races it: once that has a client, nobody waits for it, and its failure means nothing.
    this.reached.catch(() => undefined);
  }

  stop(): void {
    this.#stopTimer();
    this.#signal?.removeEventListener('abort', this.#cancel);
  }
}

/** A monitor of QEMU has one client at a time: others are let in, and wait. */
function silent(where: string, timeoutMs: number): BlockError {
  const text = `no greeting within ${timeoutMs} ms: is another client connected?`;
  return BlockError.at(where, 'cancelled', text, { operation: 'connect' });
}
