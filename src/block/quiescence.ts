// Drained sections: who has to be quiet, and why. A section lies on nodes; everybody above them is quiet while it lasts. Nothing is
// remembered of a user but that it was told: who has to be quiet follows from the sections and the links as they are, and is looked
// up anew after each change of either. So whoever attaches meanwhile begins quiet, and whoever goes is let go.
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
  readonly nodes: ReadonlySet<BlockNode>;
}

/** What lies above some nodes, these included. */
interface Reach {
  nodes: Set<BlockNode>;
  users: Set<NodeUser>;
}

export class Quiescence {
  readonly #sections = new Set<{ nodes: Set<BlockNode> }>();
  /** Users that were told to be quiet, and not yet to go on. */
  readonly #quiet = new Set<NodeUser>();
  /** How many sections reach a node. */
  #counts = new Map<BlockNode, number>();
  /** Changes of links under way. */
  #changes = 0;
  #updating = false;
  #again = false;

  /** Sections that `node` lies in or above. */
  countOf(node: BlockNode): number {
    return this.#counts.get(node) ?? 0;
  }

  /** From now on nobody above `nodes` begins anything. What is under way goes on: see `settled`. */
  begin(nodes: readonly BlockNode[]): Section {
    const section = { nodes: new Set(nodes) };
    this.#sections.add(section);
    this.update();
    return section;
  }

  /** Those who are in no other section go on. */
  end(section: Section): void {
    const wasOpen = this.#sections.delete(section as { nodes: Set<BlockNode> });
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
    // Who came while this waited began quiet, but may have brought others along.
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

  /** To be called after each change of links: tells users to be quiet, or to go on, where that is new. */
  update(): void {
    if (this.#changes > 0 || (this.#sections.size === 0 && this.#quiet.size === 0)) return;
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
    const counts = new Map<BlockNode, number>();
    for (const section of this.#sections) {
      const { nodes, users } = reach(section.nodes);
      for (const node of nodes) counts.set(node, (counts.get(node) ?? 0) + 1);
      for (const user of users) wanted.add(user);
    }
    this.#counts = counts;
    const released = [...this.#quiet].filter((user) => !wanted.has(user));
    const told = [...wanted].filter((user) => !this.#quiet.has(user));
    for (const user of told) {
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
