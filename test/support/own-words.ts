// What Diskwright says otherwise, or beside, under its own name: tests that compare it with QEMU's tools leave it out (test/cli/hints.test.ts looks at it).

const HINTS =
  /^(Did you mean '.*'\?|'--.*' takes no argument\.|Diskwright does not have the (format|protocol) .*|Only 'diskwright convert' reads .*|It is a pipe: .*|Standard input and output are called .*)\n/gm;

/** Messages with the name of a node: where it has none of its own, QEMU's tools say its number, Diskwright says its file. */
const NAMES_OF_NODES = [
  /(?<=Can't store persistent bitmaps to )[^:]+(?=: Operation not supported)/g,
  /(?<=Can't make bitmap '[^']*' persistent in ')[^']+(?=': )/g,
  /(?<=[Bb]lock node ')[^']+(?=' (is read-only|cannot support read-write users))/g,
  /(?<=Block format '[^']*' used by node ')[^']+(?=' does not support reopening files)/g,
];

/** `text` without further lines for a person, and with one word for each name of a node. */
export function withoutOwnWords(text: string): string {
  return NAMES_OF_NODES.reduce((named, pattern) => named.replace(pattern, 'NODE'), text)
    .replace(HINTS, '')
    .replace(/Failed to blk_new_open '[^']*': (?=Could not open)/g, '')
    .replaceAll('Failed to blk_new_open ', 'Could not open ')
    .replace(/#block\d+/g, '#block');
}
