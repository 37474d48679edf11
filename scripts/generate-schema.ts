// Writes src/schema/generated/ and docs/qmp-reference.md from src/schema/*.qapi. Run with tsx; `npm run schema`.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeIntrospection } from './schema/introspection.js';
import { writeManual } from './schema/manual.js';
import { readSchema } from './schema/model.js';
import { writeTable, writeTypes } from './schema/typescript.js';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const SCHEMA_FOLDER = join(ROOT, 'src', 'schema');
const ENTRY = 'schema.qapi';

/** Text of each generated file, by its path. */
export function generate(): Map<string, string> {
  const definitions = readSchema(ENTRY, (file) => readFileSync(join(SCHEMA_FOLDER, file), 'utf8'));
  const folder = join(SCHEMA_FOLDER, 'generated');
  return new Map([
    [join(folder, 'types.ts'), writeTypes(definitions)],
    [join(folder, 'table.ts'), writeTable(definitions)],
    [join(folder, 'introspection.ts'), writeIntrospection(definitions)],
    [join(ROOT, 'docs', 'qmp-reference.md'), writeManual(definitions)],
  ]);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, text] of generate()) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
}
