// Types of the table of all QAPI types, which the generator writes (`scripts/generate-schema.ts`) and the validator walks.

/** Name of a type, or a list of one. */
export type TypeReference = string | readonly [string];

export interface MemberEntry {
  readonly type: TypeReference;
  readonly optional?: true;
}

export type Members = Readonly<Record<string, MemberEntry>>;

export type TypeEntry =
  | { readonly kind: 'enum'; readonly values: readonly string[] }
  | { readonly kind: 'struct'; readonly members: Members }
  | {
      readonly kind: 'union';
      readonly tag: string;
      readonly members: Members;
      readonly branches: Readonly<Record<string, string>>;
    }
  /** `choices` has a type for each kind of JSON value: `object`, `string`, `number`, `boolean`, `array`, `null`. */
  | { readonly kind: 'alternate'; readonly choices: Readonly<Record<string, TypeReference>> };

export type TypeTable = Readonly<Record<string, TypeEntry>>;
