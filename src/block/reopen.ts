// Reopening by options: `blockdev-reopen`. The options of a node are given anew, and what differs from those that it was opened with changes; an option
// that is left out has its default again.
//
//   { driver: 'qcow2', node-name: 'top', file: 'f', backing: 'base', l2-cache-size: 2M }
//       |                  |              |          |                 +-- the driver's own: those that it can change (`DriverDefinition.changeable`)
//       |                  |              |          +-- another node, or null: the link moves
//       |                  |              +-- other children stay
//       +------------------+-- stay
//
// Children that were opened within the options of a node (its heirs) inherit from it again, unless they are given by themselves.

import type { BlockdevOptions } from '../schema/generated/types.js';
import { flatten, type Scalar, unflatten } from '../schema/keyval.js';
import { childNames, type LooseChild, LooseOptions } from '../schema/loose-options.js';
import { BlockError } from '../util/errors.js';
import type { Child } from './child.js';
import type { Graph } from './graph.js';
import { backingFileOf } from './node/format.js';
import type { BlockNode } from './node/node.js';
import { type NodeChange, type Opening, reopensNot, reopenTogether } from './node/reopening.js';
import { settleInherited } from './node-settings.js';
import { findDriver, hasBackingFiles } from './registry.js';
import { type InheritedOptions, ROLES } from './roles.js';

/** Options that every driver has, and that may change. */
const CHANGEABLE = ['read-only', 'auto-read-only', 'cache.direct', 'cache.no-flush', 'discard', 'detect-zeroes'];
/** Those of `CHANGEABLE` that a child inherits, as members of the settings. */
const INHERITED: Readonly<Record<string, keyof InheritedOptions>> = {
  'read-only': 'readOnly',
  'auto-read-only': 'autoReadOnly',
  'cache.direct': 'direct',
  'cache.no-flush': 'noFlush',
};
const DEFAULTS: InheritedOptions = {
  readOnly: false,
  autoReadOnly: false,
  forceShare: false,
  direct: false,
  noFlush: false,
  discard: 'ignore',
  detectZeroes: 'off',
};

/**
 * Reopens nodes with other options: all of them, or none. Each has its name among its options; where one is named twice, the later counts. Rejects with
 * `not-found`, `invalid-argument` for what cannot change, `permission`, `read-only`, `locked`, `loop`, `busy`, and as opening does.
 */
export async function reopenNodes(graph: Graph, options: readonly BlockdevOptions[]): Promise<void> {
  const given = new Map<BlockNode, LooseOptions>();
  for (const one of options) given.set(named(graph, one['node-name']), new LooseOptions({ ...one }, {}));
  const plan = () => new Plan(graph, given).make();
  const nodes = [...plan().keys()];
  await graph.drained(nodes, () => reopenTogether(nodes, plan));
}

/**
 * Reopens `node` with other values of some options, by their dotted names; the others stay as they are. Rejects as `reopenNodes`.
 */
export async function changeOptions(node: BlockNode, changes: ReadonlyMap<string, Scalar>): Promise<void> {
  const { graph } = node;
  const plan = () => {
    const opening = openingOf(node);
    const before = flatten({ ...opening.options.members });
    const members = unflatten(new Map([...before, ...changes, ['node-name', node.nodeName]]));
    if (node.cow !== null && members['backing'] === undefined) members['backing'] = node.cow.node.nodeName;
    if (node.cow === null && hasBackingFiles(node.driver)) members['backing'] ??= null;
    return new Plan(graph, new Map([[node, new LooseOptions(members, { strings: true })]]), opening.settings).make();
  };
  const nodes = [...plan().keys()];
  await graph.drained(nodes, () => reopenTogether(nodes, plan));
}

function named(graph: Graph, name: string | undefined): BlockNode {
  if (name === undefined) throw new BlockError('invalid-argument', 'node-name not specified');
  const node = graph.nodes.get(name);
  if (node !== undefined) return node;
  throw new BlockError('not-found', `Failed to find node with node-name='${name}'`);
}

class Plan {
  readonly #graph: Graph;
  readonly #given: ReadonlyMap<BlockNode, LooseOptions>;
  /** What an option has that is left out. */
  readonly #preset: InheritedOptions;
  readonly #plan = new Map<BlockNode, NodeChange>();

  constructor(graph: Graph, given: ReadonlyMap<BlockNode, LooseOptions>, preset = DEFAULTS) {
    this.#graph = graph;
    this.#given = given;
    this.#preset = preset;
  }

  make(): Map<BlockNode, NodeChange> {
    for (const [node, options] of this.#given) this.#add(node, openingOf(node), options, this.#preset);
    return this.#plan;
  }

  /** A node whose options are given, over what it inherits. */
  #add(node: BlockNode, opening: Opening, options: LooseOptions, inherited: InheritedOptions): void {
    checkReopens(node);
    checkResets(node, opening.options, options);
    const backing = this.#checkChildren(node, options);
    const file = this.#file(node, options.file);
    const settings = settleInherited(options.general(), inherited);
    checkChanges(node, opening.options, options);
    const own = options.asOptionsOf(findDriver(node.driver));
    const { readOnly, autoReadOnly, discard, detectZeroes, direct, noFlush } = settings;
    const cache = { direct, noFlush };
    const now = { options, settings, heirOf: opening.heirOf };
    const change = { readOnly, autoReadOnly, discard, detectZeroes, cache, options: own, backing, file, opening: now };
    this.#plan.set(node, change);
    const said = new Set(ownOptions(options).keys());
    for (const link of node.children.values()) {
      if ((link.name !== 'backing' || backing === undefined) && (link.name !== 'file' || file === undefined))
        this.#addHeir(node, link, options.child(link.name), settings, said);
    }
  }

  /** `said`: which options the node above was given, or has inherited. The others of a child that is only named stay as they are. */
  #addHeir(above: BlockNode, link: Child, given: LooseChild, from: InheritedOptions, said: ReadonlySet<string>): void {
    const { node, role } = link;
    const { opening } = node;
    if (opening === null || opening.heirOf !== above || this.#given.has(node)) return;
    const inherited = inheritedBy(role, from);
    if (given instanceof LooseOptions) {
      this.#add(node, opening, given, inherited);
      return;
    }
    const own = new Set(ownOptions(opening.options).keys());
    const settings = { ...opening.settings };
    for (const [name, member] of Object.entries(INHERITED)) {
      if (said.has(name) && !own.has(name)) Object.assign(settings, { [member]: inherited[member] });
    }
    const { readOnly, autoReadOnly, direct, noFlush } = settings;
    const turned = readOnly !== opening.settings.readOnly;
    const cached = direct !== opening.settings.direct || noFlush !== opening.settings.noFlush;
    const change = { ...(turned && { readOnly, autoReadOnly }), ...(cached && { cache: { direct, noFlush } }) };
    if (turned || cached) this.#plan.set(node, { ...change, opening: { ...opening, settings } });
    const known = new Set([...said, ...own]);
    for (const child of node.children.values()) this.#addHeir(node, child, child.node.nodeName, settings, known);
  }

  /** Returns the backing node that is to take the place of the one that is there; undefined: it stays. */
  #checkChildren(node: BlockNode, options: LooseOptions): BlockNode | null | undefined {
    for (const name of childNames()) {
      const given = options.child(name);
      const link = node.children.get(name);
      if (given instanceof LooseOptions) {
        if (link?.node.opening?.heirOf === node) continue;
        const [first = 'driver'] = flatten({ ...given.members }).keys();
        throw cannotChange(`${name}.${first}`);
      }
      if (name === 'backing' || name === 'file' || given === undefined || given === null) continue;
      if (this.#find(given) !== link?.node) throw cannotChange(name);
    }
    return this.#backing(node, options.backing);
  }

  #backing(node: BlockNode, given: LooseChild): BlockNode | null | undefined {
    const old = node.cow?.node ?? null;
    if (given === undefined) {
      // Below a filter there may be an image that names one: the filter itself has none.
      if (old === null && (!hasBackingFiles(node.driver) || backingFileOf(node) === null)) return undefined;
      throw new BlockError('invalid-argument', `backing is missing for '${node.nodeName}'`, { path: node.filename });
    }
    if (given instanceof LooseOptions) return undefined;
    const backing = given === null || given === '' ? null : this.#find(given);
    if (backing === old) return undefined;
    if (backing?.reaches(node)) throw node.wouldBeCycle('backing', backing);
    if (old !== null && (node.cow?.frozen ?? 0) > 0) {
      const message = `Cannot change frozen 'backing' link from '${node.nodeName}' to '${old.nodeName}'`;
      throw new BlockError('busy', message, { path: node.filename });
    }
    return backing;
  }

  /** Returns the node that is to take the place of what the node lies over; undefined: it stays. */
  #file(node: BlockNode, given: LooseChild): BlockNode | undefined {
    const old = node.children.get('file')?.node;
    if (typeof given !== 'string' || old === undefined) return undefined;
    const file = this.#find(given);
    if (file === old) return undefined;
    if (file.reaches(node)) throw node.wouldBeCycle('file', file);
    if (node.blockers.size > 0) {
      const message = `Cannot change frozen 'file' link from '${node.nodeName}' to '${old.nodeName}'`;
      throw new BlockError('busy', message, { path: node.filename });
    }
    if (file.length !== old.length) {
      const message = `Cannot change 'file' of '${node.nodeName}' from ${old.length} bytes to ${file.length}`;
      throw new BlockError('unsupported', message, { path: node.filename });
    }
    return file;
  }

  #find(name: string): BlockNode {
    const node = this.#graph.nodes.get(name);
    if (node !== undefined) return node;
    throw new BlockError('not-found', `Cannot find device='' nor node-name='${name}'`);
  }
}

function openingOf(node: BlockNode): Opening {
  if (node.opening !== null) return node.opening;
  // One that a job has put in.
  if (node.kind === 'filter') throw reopensNot(node);
  throw BlockError.at(node.filename, 'unsupported', `node '${node.nodeName}' was not opened by options`);
}

function checkReopens(node: BlockNode): void {
  if (!node.reopens) throw reopensNot(node);
}

/** Refuses with `invalid-argument` options that were given before, are left out now, and have to stay. */
function checkResets({ driver }: BlockNode, before: LooseOptions, now: LooseOptions): void {
  const { changeable = [] } = findDriver(driver);
  const present = ownOptions(now);
  for (const name of ownOptions(before).keys()) {
    if (present.has(name) || isAmong(name, CHANGEABLE) || isAmong(name, changeable) || name === 'node-name') continue;
    throw new BlockError('invalid-argument', `Option '${name}' cannot be reset to its default value`);
  }
}

/** Refuses with `invalid-argument` options that have other values now, or were not given before, and have to stay. */
function checkChanges(node: BlockNode, before: LooseOptions, now: LooseOptions): void {
  const { changeable = [] } = findDriver(node.driver);
  const past = ownOptions(before).set('driver', node.driver).set('node-name', node.nodeName);
  for (const [name, value] of ownOptions(now)) {
    if (isAmong(name, CHANGEABLE) || isAmong(name, changeable)) continue;
    if (!past.has(name) || String(past.get(name)) !== String(value)) throw cannotChange(name);
  }
}

/** `names` are whole names, or what stands before a dot. */
function isAmong(name: string, names: readonly string[]): boolean {
  return names.some((one) => name === one || name.startsWith(`${one}.`));
}

function cannotChange(name: string): BlockError {
  return new BlockError('invalid-argument', `Cannot change the option '${name}'`);
}

/** The options of this level but those of children, with dotted names. */
function ownOptions(options: LooseOptions): Map<string, unknown> {
  const children = childNames();
  return flatten(Object.fromEntries(Object.entries(options.members).filter(([name]) => !children.includes(name))));
}

function inheritedBy(role: Child['role'], above: InheritedOptions): InheritedOptions {
  const known = Object.values(ROLES).find((one) => one === role);
  return known !== undefined && 'inherit' in known ? known.inherit(above) : above;
}
