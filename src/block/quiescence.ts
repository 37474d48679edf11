// Drained sections: who has to be quiet, and why. A section lies on nodes; everybody above them is quiet while it lasts. Of a user
// it is only remembered whether it was made quiet: who has to be quiet follows from the sections and the links as they are, and is
// looked up anew after each change of either. So a user that attaches meanwhile begins quiet, and one that leaves may go on.
//
//      device     job  ..origins..> source <-- its device
//         |        |
//        top     target                     a section on `base` and `target`: both devices and the job are quiet
//         |
//        base

import { assert } from '../util/assert.js';
import { BlockError } from '../util/errors.js';
import type { NodeUser } from './child.js';
import { BlockNode } from './node/node.js';

/** A drained section that is open. */
export interface Section {
  readonly nodes: Set<BlockNode>;
}

/** What lies above some nodes, these included. */
interface Reach {
  nodes: Set<BlockNode>;
  users: Set<NodeUser>;
}

export class Quiescence {
  readonly #sections = new Set<Section>();
  /** Users whose `drainBegin` was called, and whose `drainEnd` was not yet. */
  readonly #quiet = new Set<NodeUser>();
  /** Called after each change of links. */
  readonly #watchers = new Set<() => void>();
  /** Changes of links under way. */
  #changes = 0;
  #updating = false;
  #again = false;

  /** Sections that `node` lies in or above. */
  countOf(node: BlockNode): number {
    return [...this.#sections].filter(({ nodes }) => reach(nodes).nodes.has(node)).length;
  }

  /** From now on nobody above `nodes` begins anything. What is under way goes on: see `settled`. */
  begin(nodes: readonly BlockNode[]): Section {
    const section: Section = { nodes: new Set(nodes) };
    this.#sections.add(section);
    this.update();
    return section;
  }

  /** Those who are in no other section go on. */
  end(section: Section): void {
    const wasOpen = this.#sections.delete(section);
    assert(wasOpen, 'a drained section ends once');
    this.update();
  }

  /** Resolves when nothing is under way in what the section reaches. */
  async settled(section: Section): Promise<void> {
    const waitedFor = new Set<object>();
    const wait = async <T extends object>(those: Iterable<T>, idle: (one: T) => Promise<void> | undefined) => {
      for (const one of those) {
        if (waitedFor.has(one)) continue;
        waitedFor.add(one);
        await idle(one);
      }
    };
    // A user that attached while this waited began quiet, but may have brought others along.
    for (let known = -1; known < waitedFor.size; ) {
      known = waitedFor.size;
      const { users, nodes } = reach(section.nodes);
      await wait(users, (user) => user.drained?.());
      await wait(nodes, (node) => node.idle());
    }
  }

  /** Makes several changes of links as one: no user goes on between them. */
  change<T>(action: () => T): T {
    this.#changes++;
    try {
      return action();
    } finally {
      this.#changes--;
      this.update();
    }
  }

  /** `to` takes the place of `from`: the sections that lie on `from` lie on both. */
  join(from: BlockNode, to: BlockNode): void {
    for (const { nodes } of this.#sections) if (nodes.has(from)) nodes.add(to);
  }

  /** Calls `changed` after each change of links, before anybody goes on. Returns what ends that. */
  watch(changed: () => void): () => void {
    const watcher = () => changed();
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
    };
  }

  /** To be called after each change of links: users that have to be quiet now begin to be, those that no longer have to go on. */
  update(): void {
    if (this.#changes > 0) return;
    for (const changed of this.#watchers) changed();
    if (this.#sections.size === 0 && this.#quiet.size === 0) return;
    // A user that is called may change links itself.
    this.#again = true;
    if (this.#updating) return;
    this.#updating = true;
    try {
      for (let rounds = 0; this.#again; rounds++) {
        if (rounds > MAX_ROUNDS) throw new BlockError('internal', 'users do not agree on who is quiet');
        this.#again = false;
        this.#updateOnce();
      }
    } finally {
      this.#updating = false;
    }
  }

  #updateOnce(): void {
    const wanted = new Set<NodeUser>();
    for (const { nodes } of this.#sections) for (const user of reach(nodes).users) wanted.add(user);
    const released = [...this.#quiet].filter((user) => !wanted.has(user));
    const added = [...wanted].filter((user) => !this.#quiet.has(user));
    for (const user of added) {
      this.#quiet.add(user);
      user.drainBegin?.();
    }
    for (const user of released) {
      this.#quiet.delete(user);
      user.drainEnd?.();
    }
  }
}

/** Far more than users have reasons for. */
const MAX_ROUNDS = 1000;

/** All on any path upwards from `start`: nodes, and devices, jobs and exports; and from the nodes whose requests these hand on. */
function reach(start: Iterable<BlockNode>): Reach {
  const nodes = new Set<BlockNode>();
  const users = new Set<NodeUser>();
  const walk = (node: BlockNode): void => {
    if (nodes.has(node)) return;
    nodes.add(node);
    // A node that holds requests back lets them go, so that the section does not wait for them.
    if (node.drainBegin !== undefined) users.add(node);
    for (const { user } of node.parents) {
      if (user instanceof BlockNode) walk(user);
      else if (!users.has(user)) {
        users.add(user);
        for (const origin of user.origins?.() ?? []) walk(origin);
      }
    }
  };
  for (const node of start) walk(node);
  return { nodes, users };
}
