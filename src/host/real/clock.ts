// The real clock.
import type { Clock } from '../host.js';

/** Longest delay that setTimeout takes; longer ones are cut in pieces. */
const LONGEST_MS = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => performance.now(),
  wall() {
    const ms = performance.timeOrigin + performance.now();
    const seconds = Math.floor(ms / 1000);
    return { seconds, nanoseconds: Math.floor((ms - seconds * 1000) * 1e6) };
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
