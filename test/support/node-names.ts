// Messages about a node that has no name of its own: QEMU's tools number it, and Diskwright under its own name names the file instead.

/** `text` with one word for each such name, or file. */
export function withoutNodeNames(text: string): string {
  return text
    .replace(/(persistent bitmaps to |persistent in '|[Nn]ode ')[^':]+/g, '$1NODE')
    .replace(/#block\d+/g, '#block');
}
