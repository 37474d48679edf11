// Loops over millions of small items are made of calls for a few hundred each. V8 optimises a function that was called a few times as a whole, but one long loop
// with what it has seen of its function until then, which is wrong where the loop ends: measured, an order of magnitude in commands that live for a tenth of a second.

/** Items that one call of such a function looks at. */
export const PART_ITEMS = 512;
