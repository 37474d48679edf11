// What Diskwright says otherwise, or beside, under its own name: tests that compare it with QEMU's tools leave it out (test/cli/hints.test.ts looks at it).

const HINTS =
  /^(Did you mean '.*'\?|'--.*' takes no argument\.|Diskwright does not have the (format|protocol) .*|Only 'diskwright convert' reads .*|It is a pipe: .*|Standard input and output are called .*)\n/gm;

/** `text` without further lines for a person, and with one word for each file, or node without a name of its own: QEMU's tools number these, Diskwright names the file. */
export function withoutOwnWords(text: string): string {
  return text
    .replace(HINTS, '')
    .replace(/Failed to blk_new_open '[^']*': (?=Could not open)/g, '')
    .replaceAll('Failed to blk_new_open ', 'Could not open ')
    .replace(/(persistent bitmaps to |persistent in '|[Nn]ode ')[^':]+/g, '$1NODE')
    .replace(/#block\d+/g, '#block');
}
