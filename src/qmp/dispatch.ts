// One request, from JSON to its answer: its shape is checked, the command is found, its arguments are checked by the schema, it runs.
//
//   {"execute": NAME, "arguments": {...}, "id": ANY}  -->  {"return": ..., "id": ANY} | {"error": {"class", "desc"}, "id": ANY}

import { COMMANDS as COMMAND_TYPES, CONDITIONS, OUT_OF_BAND, RETURNING } from '../schema/generated/table.js';
import type { Generations } from '../schema/introspect.js';
import { type ValidateOptions, validate, validateEmpty } from '../schema/validate.js';
import { type Caller, type Command, NOBODY } from './command.js';
import { COMMANDS } from './commands/index.js';
import type { QmpContext } from './context.js';
import { type QmpError, qmpErrorOf } from './error.js';
import { firstErrorOf } from './first-error.js';
import { type Call, commandOfCall, isCommand, type QmpName } from './generations.js';

export interface Request {
  name: string;
  args: Record<string, unknown>;
  /** Undefined where the client gave none. */
  id: unknown;
  outOfBand: boolean;
}

export type Answer = { return: unknown; id?: unknown } | { error: QmpError; id?: unknown };

/** What the client said is no request; `id` is what it goes back with. */
export class BadRequest extends Error {
  readonly id: unknown;

  constructor(message: string, id?: unknown) {
    super(message);
    this.id = id;
  }
}

/** Checks the shape of a message. `withOob`: the client has asked for `oob`. Throws `BadRequest`. */
export function parseRequest(message: unknown, withOob: boolean): Request {
  if (!isObject(message)) throw new BadRequest('QMP input must be a JSON object');
  const { id } = message;
  const fail = (text: string): never => {
    throw new BadRequest(`QMP input ${text}`, id);
  };
  let name: string | null = null;
  let verb = '';
  for (const [member, value] of Object.entries(message)) {
    if (member === 'execute' || (member === 'exec-oob' && withOob)) {
      if (typeof value !== 'string') return fail(`member '${member}' must be a string`);
      if (name !== null) return fail("member 'execute' clashes with 'exec-oob'");
      name = value;
      verb = member;
    } else if (member === 'arguments') {
      if (!isObject(value)) return fail("member 'arguments' must be an object");
    } else if (member !== 'id') return fail(`member '${member}' is unexpected`);
  }
  if (name === null) return fail("lacks member 'execute'");
  const args = (message['arguments'] ?? {}) as Record<string, unknown>;
  return { name, args, id, outOfBand: verb === 'exec-oob' };
}

/** Whether a message asks for a command that overtakes others; it may be a bad request for all that. */
export function isOutOfBand(message: unknown): boolean {
  return isObject(message) && Object.hasOwn(message, 'exec-oob') && !Object.hasOwn(message, 'execute');
}

/** Why the command may not be asked for in this way, without looking at its arguments; null where it may. */
export function refusal({ name, outOfBand }: Request, generations: Generations): QmpError | null {
  if (!isCommand(name, generations)) {
    return { class: 'CommandNotFound', desc: `The command ${name} has not been found` };
  }
  if (!outOfBand || OUT_OF_BAND.has(name)) return null;
  return { class: 'GenericError', desc: `The command ${name} does not support OOB` };
}

/** Runs a client's command that `refusal` has nothing against. From the first one on, sockets of descriptors have names only. Never rejects. */
export async function runCommand(context: QmpContext, name: QmpName, args: unknown, caller: Caller): Promise<Answer> {
  context.graph.host.passed.namesOnly();
  try {
    return { return: await perform(context, commandOfCall(name, args, context.generations), args, undefined, caller) };
  } catch (error) {
    return { error: CONDITIONS[name] === 'first-names' ? firstErrorOf(error, args) : qmpErrorOf(error) };
  }
}

/** The same for callers of the house, who know today's form alone: rejects with the command's error. */
export function callCommand(
  context: QmpContext,
  name: QmpName,
  args: unknown,
  how?: ValidateOptions,
): Promise<unknown> {
  return perform(context, { form: name, type: COMMAND_TYPES[name] }, args, how, NOBODY);
}

async function perform(
  context: QmpContext,
  { form, type }: Call,
  args: unknown,
  how: ValidateOptions | undefined,
  caller: Caller,
): Promise<unknown> {
  const command = COMMANDS[form] as Command;
  const returned = await context.run(async () => command(context, checkedArguments(type, args, how) as never, caller));
  return RETURNING.has(form) ? returned : {};
}

function checkedArguments(type: Call['type'], args: unknown, how?: ValidateOptions): unknown {
  if (type !== null) return validate(type, args, how);
  validateEmpty(args);
  return {};
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
