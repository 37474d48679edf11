// Branded primitives: numbers that the compiler keeps apart though they are the same thing at run time.

declare const brandKey: unique symbol;

/** `Brand<number, 'HostOffset'>` is a number that no plain number, and no other brand, is assignable to. */
export type Brand<T, Name extends string> = T & { readonly [brandKey]: Name };
