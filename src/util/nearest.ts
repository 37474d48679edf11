// What may have been meant by an unknown word: `readonly` -> `readOnly`, `bas` -> `base`.

/** The known word that is nearest to `word`, in its spelling; undefined where none is near. */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  const typed = plain(word);
  let best: string | undefined;
  // One mistake in three letters; two words of one letter have nothing in common.
  let bestDistance = Math.floor(typed.length / 3) + 1;
  for (const candidate of known) {
    // A word that is not finished.
    if (typed.length >= 3 && plain(candidate).startsWith(typed)) return candidate;
    const distance = distanceOf(typed, plain(candidate), bestDistance);
    if (distance < bestDistance) {
      bestDistance = distance;
      best = candidate;
    }
  }
  return best;
}

/** ` (did you mean 'base'?)`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const nearest = nearestWord(word, known);
  return nearest === undefined ? '' : ` (did you mean '${nearest}'?)`;
}

/** Case, dashes and underscores are spelling. */
function plain(word: string): string {
  return word.slice(0, 64).toLowerCase().replace(/[-_.]/g, '');
}

/** Letters that are wrong, missing, too many, or in each other's place; `limit` stands for all that is not below it. */
function distanceOf(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      let cost = Math.min(row[j - 1] + 1, previous[j] + 1, previous[j - 1] + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) cost = Math.min(cost, before[j - 2] + 1);
      row.push(cost);
    }
    before = previous;
    previous = row;
  }
  return Math.min(previous[b.length], limit);
}
