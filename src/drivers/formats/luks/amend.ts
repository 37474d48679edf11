// Key slots are filled and erased in an open image. All that can be refused is refused by `planSlots`; only the change that it returns touches the image.
//
//   fill     material of the slot, and its fields (still inactive)  -> flush ->  the slot is marked active    -> flush
//   erase    random bytes over the material                        -> flush ->  the slot is marked inactive  -> flush
//   replace  fill a free slot with the new password, fill the slot, erase the free one
//
// The mark is in one sector, which is never torn: after power loss the other slots open as before, and this one opens, or does not. What was erased in part is
// lost, as it was meant to be. While an active slot is replaced, its old password or the new one opens the image, also where it is the only one. (Where none of the
// eight is free, the seven others open it.)

import type { KeySlotChange } from '../../../block/abilities.js';
import type { CreateOption } from '../../../block/create-option.js';
import type { Graph } from '../../../block/graph.js';
import type { QCryptoBlockAmendOptionsLUKS } from '../../../schema/generated/types.js';
import { BlockError } from '../../../util/errors.js';
import { Serial } from '../../../util/serial.js';
import { encodeHeader, type KeySlot, materialBytes, SLOT_COUNT } from './header.js';
import { calibrate, DEFAULT_ITER_TIME_MS, Derivation } from './key-derivation.js';
import { fillSlot, opens, type ReadMaterial, type SlotContext, unlock } from './key-slots.js';
import type { Volume } from './volume.js';

/** The options of a change at a shell; `prefix` of their names. */
export function keySlotOptions(prefix: string): CreateOption[] {
  const option = (name: string, kind: 'str' | 'num', help: string): CreateOption => ({
    name: `${prefix}${name}`,
    kind,
    help,
    member: `encrypt.${name}`,
  });
  return [
    option('iter-time', 'num', 'Time to spend in PBKDF in milliseconds'),
    { ...option('keyslot', 'num', 'Select a single keyslot to modify explicitly'), isInt: true },
    option('new-secret', 'str', 'New secret to set in the matching keyslots. Empty string to erase'),
    option('old-secret', 'str', 'Select all keyslots that match this password'),
    option('state', 'str', 'Select new state of affected keyslots (active/inactive)'),
  ];
}

/** The changes of one open image's key slots, one after the other. */
export class SlotChanges {
  readonly #graph: Graph;
  readonly #context: SlotContext;
  readonly #openedWith: string | undefined;
  readonly #serial = new Serial();

  /** `openedWith`: the secret that the image was opened with. */
  constructor(graph: Graph, { header, algorithms }: Volume, path: string, openedWith: string | undefined) {
    this.#graph = graph;
    this.#context = { ciphers: graph.host.ciphers, header, algorithms, path };
    this.#openedWith = openedWith;
  }

  /** Rejects as `planSlots`, and as `checked`; then nothing was changed, but for `no-space`, `io`. */
  change(place: SlotPlace, { options, force, checked }: KeySlotChange): Promise<void> {
    return this.#serial.run(async () => {
      // Passwords are copied: an object that is removed meanwhile fills its own with zeroes, and those must not become a password of the disk.
      const taken: Uint8Array[] = [];
      const secret = (id: string): Uint8Array => {
        const copy = this.#graph.objects.copySecret(id);
        taken.push(copy);
        return copy;
      };
      let apply: () => Promise<void>;
      try {
        apply = await planSlots(this.#context, place, { options, force, secret, openedWith: this.#openedWith });
      } finally {
        for (const copy of taken) this.#context.ciphers.forget(copy);
      }
      await checked?.();
      await apply();
    });
  }
}

/** Where header and key material lie. */
export interface SlotPlace {
  read: ReadMaterial;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  flush(): Promise<void>;
}

export interface SlotRequest {
  options: QCryptoBlockAmendOptionsLUKS;
  /** Finds a password. Throws `not-found`, `invalid-argument`. */
  secret(id: string): Uint8Array;
  /** The secret that the image was opened with. */
  openedWith: string | undefined;
  force: boolean;
}

/**
 * Checks the options, in QEMU's words, and returns what changes the image; it may be called once. Rejects with `invalid-argument`, `not-found`, `permission`
 * (a password that opens nothing), `limit`, `io`.
 */
async function planSlots(context: SlotContext, place: SlotPlace, request: SlotRequest): Promise<() => Promise<void>> {
  const { keyslot, state } = request.options;
  if (keyslot !== undefined && (keyslot < 0 || keyslot >= SLOT_COUNT)) {
    const shown = state === 'active' ? BigInt.asUintN(32, BigInt(keyslot)) : keyslot;
    throw refuse(context, `Invalid keyslot ${shown} specified, must be between 0 and ${SLOT_COUNT - 1}`);
  }
  return request.options.state === 'active' ? planFill(context, place, request) : planErase(context, place, request);
}

function refuse({ path }: SlotContext, message: string): BlockError {
  return BlockError.at(path, 'invalid-argument', message, { operation: 'amend' });
}

async function planFill(
  context: SlotContext,
  place: SlotPlace,
  { options, secret, openedWith, force }: SlotRequest,
): Promise<() => Promise<void>> {
  const { slots } = context.header;
  const { 'new-secret': id, keyslot } = options;
  if (id === undefined) throw refuse(context, "'new-secret' is required to activate a keyslot");
  if (options['old-secret'] !== undefined) {
    throw refuse(context, "'old-secret' must not be given when activating keyslots");
  }
  if (keyslot !== undefined && slots[keyslot].active && !force) {
    throw refuse(context, `Refusing to overwrite active keyslot ${keyslot} - please erase it first`);
  }
  const index = keyslot ?? slots.findIndex(({ active }) => !active);
  if (index < 0) throw refuse(context, "Can't add a keyslot - all keyslots are in use");
  const time = options['iter-time'] ?? DEFAULT_ITER_TIME_MS;
  if (time < 0) throw refuse(context, 'iter-time must not be negative');
  const password = secret(id);
  const known = options.secret ?? openedWith;
  if (known === undefined) throw refuse(context, "'secret' is required to activate a keyslot");
  const { key } = await unlock(context, secret(known), place.read);
  const { ciphers, algorithms } = context;
  const slot: KeySlot = { ...slots[index] };
  try {
    const iterations = await calibrate(ciphers, algorithms.hash, key.length, time);
    const material = await fillSlot(context, slot, key, password, iterations);
    return () => (slots[index].active ? replace : fill)(context, place, index, slot, material);
  } finally {
    ciphers.forget(key);
  }
}

/** Fills a slot that is active. Nothing in a slot depends on which one it is, but the place of its material. */
async function replace(
  context: SlotContext,
  place: SlotPlace,
  index: number,
  slot: KeySlot,
  material: Uint8Array,
): Promise<void> {
  const { slots } = context.header;
  const free = slots.findIndex(({ active }) => !active);
  if (free < 0) return fill(context, place, index, slot, material);
  const { materialOffset } = slots[free];
  await fill(context, place, free, { ...slot, materialOffset }, material);
  await fill(context, place, index, slot, material);
  await erase(context, place, [free]);
}

async function fill(
  context: SlotContext,
  place: SlotPlace,
  index: number,
  slot: KeySlot,
  material: Uint8Array,
): Promise<void> {
  await writeSlot(context, place, index, { ...slot, active: false });
  await place.write(slot.materialOffset, material);
  await place.flush();
  await writeSlot(context, place, index, slot);
  await place.flush();
}

async function planErase(
  context: SlotContext,
  place: SlotPlace,
  { options, secret, force }: SlotRequest,
): Promise<() => Promise<void>> {
  const { slots } = context.header;
  const { keyslot, 'old-secret': id } = options;
  for (const name of ['new-secret', 'iter-time'] as const) {
    if (options[name] !== undefined) throw refuse(context, `'${name}' must not be given when erasing keyslots`);
  }
  if (keyslot === undefined && id === undefined) {
    const what = 'either explicit keyslot index or the password currently contained in them must be given';
    throw refuse(context, `To erase keyslot(s), ${what}`);
  }
  const active = slots.flatMap(({ active: isActive }, index) => (isActive ? [index] : []));
  const password = id === undefined ? null : secret(id);
  if (keyslot !== undefined) {
    if (password !== null && !(await opens(context, keyslot, password, place.read))) {
      throw refuse(context, `Given keyslot ${keyslot} doesn't contain the given old password for erase operation`);
    }
    if (!slots[keyslot].active && !force)
      throw refuse(context, `Given keyslot ${keyslot} is already erased (inactive) `);
    if (active.length === 1 && active[0] === keyslot && !force) {
      const loss = 'which will erase all the data in the image irreversibly - refusing operation';
      throw refuse(context, `Attempt to erase the only active keyslot ${keyslot} ${loss}`);
    }
    return () => erase(context, place, [keyslot]);
  }
  const matching: number[] = [];
  const derivation = new Derivation(context.ciphers, context.algorithms.hash);
  for (const index of active) {
    if (await opens(context, index, password!, place.read, derivation)) matching.push(index);
  }
  if (matching.length === 0) throw refuse(context, 'No keyslots match given (old) password for erase operation');
  if (matching.length === active.length && !force) {
    const loss = 'erasing them will erase all the data in the image irreversibly - refusing operation';
    throw refuse(context, `All the active keyslots match the (old) password that was given and ${loss}`);
  }
  return () => erase(context, place, matching);
}

async function erase(context: SlotContext, place: SlotPlace, indexes: readonly number[]): Promise<void> {
  const { header, ciphers } = context;
  const noise = new Uint8Array(materialBytes(header.keyBytes));
  for (const index of indexes) {
    const slot = header.slots[index];
    ciphers.fillRandom(noise);
    await place.write(slot.materialOffset, noise);
    await place.flush();
    await writeSlot(context, place, index, { ...slot, active: false });
    await place.flush();
  }
}

/** Writes the header with this slot. The header in memory has it when that has succeeded. */
async function writeSlot({ header }: SlotContext, place: SlotPlace, index: number, slot: KeySlot): Promise<void> {
  const slots = header.slots.map((old, at) => (at === index ? slot : old));
  await place.write(0, encodeHeader({ ...header, slots }));
  header.slots[index] = slot;
}
