// What the lexer makes and the parser reads.

export type Token =
  /** With its quotes and escapes, as it came. */
  { kind: 'string'; bytes: Uint8Array } | { kind: 'keyword' | 'integer' | 'double' | 'structure'; text: string };

/** `[ ] { } : ,` */
export function isStructure(byte: number): boolean {
  return byte === 0x5b || byte === 0x5d || byte === 0x7b || byte === 0x7d || byte === 0x3a || byte === 0x2c;
}
