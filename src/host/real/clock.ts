// The real clock.
import type { Clock } from '../host.js';

/** Monotonic, milliseconds. Not `performance.now()`, whose module takes 2 ms to load: a tenth of what a short command needs. */
function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Longest delay that setTimeout takes; longer ones are cut in pieces. */
const LONGEST_MS = 2 ** 31 - 1;

export const realClock: Clock = {
  now,
  wall() {
    const ms = Date.now();
    const seconds = Math.floor(ms / 1000);
    return { seconds, nanoseconds: (ms - seconds * 1000) * 1e6 };
  },
  timer(delayMs, callback) {
    let left = Math.max(0, delayMs);
    let handle: NodeJS.Timeout;
    const arm = () => {
      const step = Math.min(left, LONGEST_MS);
      left -= step;
      handle = setTimeout(() => (left > 0 ? arm() : callback()), step);
    };
    arm();
    return () => clearTimeout(handle);
  },
};
