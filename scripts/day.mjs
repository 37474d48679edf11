// The day of a test run: which seeds are today's, and which parts of what is run by turns.

const DAY_MS = 86_400_000;

/** Days since 1970; `DISKWRIGHT_DAY` gives another one. */
export const DAY = Number(process.env.DISKWRIGHT_DAY ?? Math.floor(Date.now() / DAY_MS));
