// What a command of the monitor is: a function from the arguments of the schema, checked already, to what the schema says that it returns.

import type { QapiCommands, QapiForms } from '../schema/generated/types.js';
import type { QmpContext } from './context.js';

/** What there are functions for: commands, and older forms of them. */
type Calls = QapiCommands & QapiForms;

export type CommandName = keyof Calls;

/** `Record<string, never>` is what commands return that have nothing to say: these may return nothing. */
type Returned<K extends CommandName> =
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that ends without a value is meant.
  Calls[K]['returns'] extends Record<string, never> ? undefined | void : Calls[K]['returns'];

/** Who has sent a command. */
export interface Caller {
  /** What goes with the client: descriptors that it has named. */
  readonly owner: object;
  /** The descriptor that came with the command, or with an earlier one that did not want it: it is the command's then. Null: there is none. */
  takeDescriptor(): number | null;
}

/** A caller of the house: it passes no descriptors. */
export const NOBODY: Caller = { owner: {}, takeDescriptor: () => null };

export type Command<K extends CommandName = CommandName> = (
  context: QmpContext,
  args: Calls[K]['arguments'],
  caller: Caller,
) => Returned<K> | Promise<Returned<K>>;

/** All commands: one of the schema that is missing here, or the other way round, does not compile. */
export type CommandTable = { readonly [K in CommandName]: Command<K> };
