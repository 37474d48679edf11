// A limit for everything that is waited for: an answer that does not come is a failure, not a hang.

/** Emulation on a busy machine is slow. */
export const PATIENCE_MS = 60_000;

/** Rejects where `promise` takes longer than `limitMs`. */
export async function within<T>(what: string, promise: Promise<T>, limitMs = PATIENCE_MS): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: nothing for ${limitMs / 1000} s`)), limitMs);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
