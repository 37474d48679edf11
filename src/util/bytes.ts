// Integers in the fields of on-disk and wire formats, as plain numbers: 64-bit fields are two words of 32 bits, and no `bigint` is made.
//
//   of bytes     getBe16 getBe32 getBe64   putBe16 putBe32 putBe64 putLe32   short messages, in memory that has no view
//   of a view    viewBe64 viewLe64   putViewBe64 putViewLe64           tables: they keep one DataView, which reads 8 to 32 bits itself
//
// A 64-bit field may hold more than a number does: what is read is exact up to 2^53 - 1, so that code that relies on it checks
// `Number.isSafeInteger` first. What is written must be a safe integer of 0 or more.

/** 2^32, the weight of a 64-bit integer's upper word. */
export const HIGH_WORD = 2 ** 32;

/** A view of exactly these bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function getBe16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function getBe32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function getBe64(bytes: Uint8Array, at: number): number {
  return getBe32(bytes, at) * HIGH_WORD + getBe32(bytes, at + 4);
}

export function putBe16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function putBe32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

export function putBe64(bytes: Uint8Array, at: number, value: number): void {
  putBe32(bytes, at, Math.floor(value / HIGH_WORD));
  putBe32(bytes, at + 4, value % HIGH_WORD);
}

export function putLe32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

export function viewBe64(view: DataView, at: number): number {
  return view.getUint32(at) * HIGH_WORD + view.getUint32(at + 4);
}

export function putViewBe64(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / HIGH_WORD));
  view.setUint32(at + 4, value % HIGH_WORD);
}

export function viewLe64(view: DataView, at: number): number {
  return view.getUint32(at + 4, true) * HIGH_WORD + view.getUint32(at, true);
}

export function putViewLe64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % HIGH_WORD, true);
  view.setUint32(at + 4, Math.floor(value / HIGH_WORD), true);
}
