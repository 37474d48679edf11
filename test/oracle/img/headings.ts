// The lines of docs/differences.md, as cases and rules name them: the last column of its tables.

import { readFileSync } from 'node:fs';

export function headings(): Set<string> {
  const page = readFileSync(new URL('../../../docs/differences.md', import.meta.url), 'utf8');
  return new Set([...page.matchAll(/ \| `([\w-]+)` \|$/gm)].map(([, name]) => name));
}
