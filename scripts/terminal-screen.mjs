// What a terminal shows of the bytes that programs have written to it: lines of characters, each with its colour. It knows what command lines use: moving in
// the line, clearing it, and colours. What it does not know is an error, so that nothing is drawn wrongly without notice.

/** Escape sequences, and control characters that move. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what begins a sequence.
const PARTS = /\x1b\[([\d;?]*)([A-Za-z])|[^\x1b]/gsu;

/** The lines that are to be seen when `text` has been written; each is a list of `{ character, colour }`, `colour` 0 where it is the usual one. */
export function screenOf(text) {
  const lines = [[]];
  let column = 0;
  let colour = 0;
  const line = () => lines[lines.length - 1];
  const put = (character) => {
    while (line().length < column) line().push({ character: ' ', colour: 0 });
    line()[column++] = { character, colour };
  };
  for (const [part, number, command] of text.matchAll(PARTS)) {
    if (command !== undefined) {
      const count = Number(number || 1);
      if (command === 'K' || command === 'J') line().length = Math.min(line().length, column);
      else if (command === 'G') column = count - 1;
      else if (command === 'C') column += count;
      else if (command === 'D') column = Math.max(0, column - count);
      else if (command === 'm') colour = Number(number || 0);
      else if (command !== 'h' && command !== 'l') throw new Error(`unknown escape sequence ${JSON.stringify(part)}`);
    } else if (part === '\r') column = 0;
    else if (part === '\n') {
      lines.push([]);
      column = 0;
    } else if (part === '\b') column = Math.max(0, column - 1);
    else if (part !== '\x07') put(part);
  }
  return lines;
}

/** The same as text, without colours and without spaces at the ends of lines. */
export function textOf(lines) {
  return lines
    .map((line) =>
      line
        .map(({ character }) => character)
        .join('')
        .trimEnd(),
    )
    .join('\n');
}
