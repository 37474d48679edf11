// Writes the fields of one request by their names, straight into the table that JavaScript and the addon share (layout: table.ts).
//
//   const request = engine.prepare(Op.read, fd);         the descriptor of the next free slot, with every other field at its default
//   request.offset = offset;                             a store into a typed array: no object is made for a request
//   request.length = length;
//   await engine.start(who);                             takes the slot
//
// An engine has one such object, which `prepare` points to a slot: fill it, and start the request before another one is prepared.

const WORDS_SHIFT = 4;
const DOUBLES_SHIFT = 3;
/** No file. */
export const NO_FD = -1;

export class Descriptor {
  #int32: Int32Array;
  #float64: Float64Array;
  /** Index of the slot's first element in each array. */
  #words = 0;
  #doubles = 0;

  constructor(int32: Int32Array, float64: Float64Array) {
    this.#int32 = int32;
    this.#float64 = float64;
  }

  /** Points the object to `slot` of a table, for operation `op` on `fd`, and sets all other fields to their defaults. */
  aim(int32: Int32Array, float64: Float64Array, slot: number, op: number, fd: number): void {
    const words = slot << WORDS_SHIFT;
    const doubles = slot << DOUBLES_SHIFT;
    this.#int32 = int32;
    this.#float64 = float64;
    this.#words = words;
    this.#doubles = doubles;
    int32[words] = op;
    int32[words + 1] = fd;
    float64[doubles + 1] = 0;
    float64[doubles + 2] = 0;
    float64[doubles + 3] = 0;
    int32[words + 8] = 0;
    int32[words + 9] = 0;
    float64[doubles + 5] = 0;
    float64[doubles + 6] = 0;
    int32[words + 14] = NO_FD;
  }

  get op(): number {
    return this.#int32[this.#words];
  }

  /** Offset in the file, bytes. */
  set offset(value: number) {
    this.#float64[this.#doubles + 1] = value;
  }

  /** Address of the memory that is read into or written from. */
  set address(value: number) {
    this.#float64[this.#doubles + 2] = value;
  }

  set length(value: number) {
    this.#float64[this.#doubles + 3] = value;
  }

  /** Flags: `FLAG_DIRECT`, ... */
  set flags(value: number) {
    this.#int32[this.#words + 8] = value;
  }

  get extra(): number {
    return this.#int32[this.#words + 9];
  }

  /** A field that only some operations use: the mode of fallocate, the number of buffers, the granule, the level of compression. */
  set extra(value: number) {
    this.#int32[this.#words + 9] = value;
  }

  /** Offset in the second file, or a second length. */
  set offset2(value: number) {
    this.#float64[this.#doubles + 5] = value;
  }

  /** Address of a second piece of memory. */
  set address2(value: number) {
    this.#float64[this.#doubles + 6] = value;
  }

  /** The second file. */
  set fd2(value: number) {
    this.#int32[this.#words + 14] = value;
  }
}
