// What a format says of itself, as text.

import { knownDriver } from '../block/registry.js';
import type { ImageInfoSpecific } from '../schema/generated/types.js';
import { ordered } from './json.js';
import { shown } from './output.js';

/** The members, in the order of qemu-img's output. */
export function inDetailOrder({ type, data }: ImageInfoSpecific): object {
  return ordered(data, knownDriver(type)?.detailOrder ?? []);
}

/** One line for each, indented. */
export function detailLines(specific: ImageInfoSpecific): string[] {
  const lines: string[] = [];
  addMembers(lines, inDetailOrder(specific), '    ');
  return lines;
}

/** Appends `key: value` for each member; the members of an object or a list follow on lines of their own, indented further. */
function addMembers(lines: string[], members: object, indent: string): void {
  for (const [key, value] of Object.entries(members)) {
    const name = Array.isArray(members) ? `[${key}]` : key.replaceAll('-', ' ');
    if (typeof value === 'object' && value !== null) {
      lines.push(`${indent}${name}:`);
      addMembers(lines, value, `${indent}    `);
    } else {
      lines.push(`${indent}${name}: ${typeof value === 'string' ? shown(value) : value}`);
    }
  }
}
