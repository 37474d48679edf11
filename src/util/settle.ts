// Several requests that work on one buffer: its owner may use it again only when all of them have ended, failed or not.

/** Waits for every part; throws `failure` where there is one, otherwise the first of the parts'. */
export async function settleAll(
  parts: readonly Promise<void>[],
  failure: { error: unknown } | null = null,
): Promise<void> {
  if (failure === null && parts.length === 1) return parts[0];
  const results = await Promise.allSettled(parts);
  if (failure !== null) throw failure.error;
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/** Marks a part as one whose failure is looked at later, by `settleAll` or an `await`, or not at all where an earlier one ends the whole. */
export function later<T>(part: Promise<T>): Promise<T> {
  part.catch(() => undefined);
  return part;
}
