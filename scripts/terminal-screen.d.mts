export interface Cell {
  character: string;
  /** Number of the SGR sequence: 31 red, 32 green, ...; 0: the usual one. */
  colour: number;
}

export declare function screenOf(text: string): Cell[][];
export declare function textOf(lines: readonly (readonly Cell[])[]): string;
