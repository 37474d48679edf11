// Suggestions for an unknown word: `readonly` -> `readOnly`, `bas` -> `base`.

/**
 * The known word that is spelled most like `word`: of several with as many mistakes, the one that begins most like it; of those, the one that is as long, else the first. Undefined
 * where none is similar.
 */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  const typed = plain(word);
  let best: string | undefined;
  // One mistake in three letters; two words of one letter have nothing in common.
  let bestDistance = Math.floor(typed.length / 3) + 1;
  let bestStart = 0;
  let isBestAsLong = false;
  for (const candidate of known) {
    const spelled = plain(candidate);
    // `word` is the beginning of the candidate.
    if (typed.length >= 3 && spelled.startsWith(typed)) return candidate;
    const distance = distanceOf(typed, spelled, bestDistance + 1);
    const start = commonStart(typed, spelled);
    const isAsLong = typed.length === spelled.length;
    const isMoreLike = start > bestStart || (start === bestStart && isAsLong && !isBestAsLong);
    const isBetter = distance < bestDistance || (best !== undefined && distance === bestDistance && isMoreLike);
    if (!isBetter) continue;
    best = candidate;
    bestDistance = distance;
    bestStart = start;
    isBestAsLong = isAsLong;
  }
  return best;
}

/** Letters that both begin with. */
function commonStart(a: string, b: string): number {
  let at = 0;
  while (at < a.length && a[at] === b[at]) at++;
  return at;
}

/** `Did you mean 'base'?`, a line of its own. */
export function suggestion(word: string): string {
  return `Did you mean '${word}'?`;
}

/** The suggestion of the known word that is spelled most like `word`; undefined where none is similar. `prefix` stands before the known word: `--`. */
export function meantLine(word: string, known: Iterable<string>, prefix = ''): string | undefined {
  const nearest = nearestWord(word, known);
  return nearest === undefined ? undefined : suggestion(`${prefix}${nearest}`);
}

/** ` (did you mean 'base'?)`, or nothing. */
export function didYouMean(word: string, known: Iterable<string>): string {
  const nearest = nearestWord(word, known);
  return nearest === undefined ? '' : ` (did you mean '${nearest}'?)`;
}

/** `word` without what is ignored in a comparison: case, dashes, underscores and dots. */
function plain(word: string): string {
  return word.slice(0, 64).toLowerCase().replace(/[-_.]/g, '');
}

/** Number of letters that are wrong, missing, too many, or swapped; `limit` where it would be that or more. */
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
