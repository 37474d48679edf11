// Sends the broken sessions of a range of seeds to a server, several at a time, and says which of them it did not take well:
//
//   - what it sends must be well-formed, whatever it was sent
//   - a client that has closed its side is let go within a limit
//
// Whether the server itself is still well is seen by those beside it: see `nbd.test.ts`.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { ReplyChecker } from './replies.js';
import type { Session } from './session.js';

const STALL_LIMIT_MS = 10_000;
/** How long a client that does not read, or says nothing, keeps its connection. */
const LINGER_MS = 20;

/** Runs the sessions of `count` seeds from `firstSeed` on, `parallel` at a time. Rejects at the first failure; the message says the seeds. */
export async function attack(
  path: string,
  make: (seed: number) => Session,
  firstSeed: number,
  count: number,
  parallel = 8,
): Promise<void> {
  let next = firstSeed;
  const end = firstSeed + count;
  const active = new Set<number>();
  const one = async () => {
    while (next < end) {
      const seed = next++;
      active.add(seed);
      try {
        await deliver(path, make(seed));
      } catch (error) {
        const others = [...active].filter((other) => other !== seed).join(' ');
        next = end;
        throw new Error(`seed ${seed} (beside it: ${others}): ${(error as Error).message}`);
      }
      active.delete(seed);
    }
  };
  await Promise.all(Array.from({ length: parallel }, one));
}

/** Delivers one session as it says, to its end. */
export async function deliver(path: string, session: Session): Promise<void> {
  const deadline = performance.now() + STALL_LIMIT_MS;
  const socket = await dial(path, deadline);
  await new Promise<void>((resolve, reject) => {
    const checker = new ReplyChecker();
    let failure: Error | null = null;
    const stall = setTimeout(() => {
      failure = new Error(`not let go within ${STALL_LIMIT_MS} ms`);
      socket.destroy();
    }, STALL_LIMIT_MS);
    // Being cut off in the middle of a sentence is what such a client must expect.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(stall);
      if (failure === null) resolve();
      else reject(failure);
    });
    if (session.reads) {
      socket.on('data', (data) => {
        try {
          checker.take(data);
        } catch (error) {
          failure = error as Error;
          socket.destroy();
        }
      });
      socket.on('end', () => socket.end());
    }
    void say(socket, session);
  });
}

/** Who knocks faster than a server opens finds the queue of its socket full for a moment. */
async function dial(path: string, deadline: number): Promise<Socket> {
  for (;;) {
    const socket = connect({ path, allowHalfOpen: true });
    try {
      await once(socket, 'connect');
      return socket;
    } catch (error) {
      socket.destroy();
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN' || performance.now() > deadline) throw error;
      await turn(1);
    }
  }
}

async function say(socket: Socket, session: Session): Promise<void> {
  const { bytes, cuts, pauseMs, reads, ending } = session;
  let from = 0;
  for (const cut of [...cuts, bytes.length]) {
    if (socket.destroyed) return;
    if (cut > from) socket.write(bytes.subarray(from, cut));
    from = cut;
    if (cut < bytes.length) await turn(pauseMs);
  }
  if (ending === 'end' && reads) {
    socket.end();
    return;
  }
  if (ending === 'linger' || !reads) await turn(LINGER_MS);
  socket.destroy();
}

function turn(pauseMs: number): Promise<void> {
  return new Promise((resolve) => {
    if (pauseMs > 0) setTimeout(resolve, pauseMs);
    else setImmediate(resolve);
  });
}
