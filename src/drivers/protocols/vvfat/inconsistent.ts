// What is thrown while a file system is read that a machine has left on the disk: it is not whole, or says what no folder can hold. Whoever reads it catches that.

export class Inconsistent extends Error {}

export function inconsistent(why: string): never {
  throw new Inconsistent(why);
}
