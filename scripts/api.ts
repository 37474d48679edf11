// `npm run api`: writes docs/api.md, the reference of the library, from the declarations that the compiler makes of src/index.ts.
//
//   index.d.ts   functions, and `export { A, type B } from './library/x.js'`  -->  x.d.ts: the declarations of A and B, with their comments

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const API_PAGE = join(root, 'docs', 'api.md');

/** Types of QAPI: their reference is the schema. */
const QAPI = './schema/generated/types.js';

/** What a host is made of: a program gets one, and calls nothing of it. */
const HOST = ['./host/host.js', './host/net.js'];

interface Declaration {
  name: string;
  /** What it is, without comment markers. */
  comment: string;
  /** The declaration as TypeScript has it. */
  code: string;
}

/** The text of docs/api.md. */
export function apiPage(): string {
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-api-'));
  try {
    declare(folder);
    return pageOf(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function declare(folder: string): void {
  const compiler = createRequire(import.meta.url).resolve('typescript/package.json');
  const words = ['-p', join(root, 'tsconfig.build.json'), '--emitDeclarationOnly', '--declarationMap', 'false'];
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(dirname(compiler), 'bin', 'tsc'), ...words, '--outDir', folder],
    { cwd: root, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`the declarations cannot be made:\n${stdout}`);
}

function pageOf(folder: string): string {
  const index = readFileSync(join(folder, 'index.d.ts'), 'utf8');
  const own = declarationsIn(index);
  const elsewhere: Declaration[] = [];
  const qapi: string[] = [];
  const sources = new Map<string, string>();
  for (const { names, from } of reexports(index)) {
    if (from === QAPI) {
      qapi.push(...names.map(({ name }) => name));
      continue;
    }
    const all = declarationsIn(readFileSync(join(folder, from.replace(/\.js$/, '.d.ts')), 'utf8'));
    for (const { name, typeOnly } of names) {
      const found = all.filter((declaration) => declaration.name === name);
      if (found.length === 0) throw new Error(`no declaration of '${name}' in ${from}`);
      elsewhere.push(...(typeOnly ? found.map(withoutConstructor) : found));
      for (const declaration of found) sources.set(declaration.name, from);
    }
  }
  const mentioned = mentionedIn(folder, elsewhere, sources, new Set([...own.map(({ name }) => name), ...qapi]));
  elsewhere.push(...mentioned.types);
  qapi.push(...mentioned.qapi);
  const kind = (word: RegExp): Declaration[] =>
    [...own, ...elsewhere].filter(({ code }) => word.test(code)).sort((a, b) => a.name.localeCompare(b.name, 'en'));
  const sections: [string, Declaration[]][] = [
    ['Functions', kind(/^function/)],
    ['Classes', kind(/^(abstract )?class/)],
    ['Values', kind(/^const/)],
    ['Types', kind(/^(interface|type)/)],
  ];
  return [
    '# API',
    '',
    'The reference of the library, generated from its declarations (`npm run api`). How it is used, with examples: [library](library.md). Types that',
    'others mention are here too, also where no program imports them.',
    '',
    `From QAPI, as [src/schema](../src/schema) has them: ${qapi
      .sort()
      .map((name) => `\`${name}\``)
      .join(', ')}.`,
    '',
    ...contents(sections),
    ...sections.flatMap(([title, declarations]) => section(title, declarations)),
  ].join('\n');
}

/** The types that these declarations mention, and those that they mention in turn: what is not exported can only be read here. */
function mentionedIn(
  folder: string,
  declarations: readonly Declaration[],
  sources: Map<string, string>,
  known: Set<string>,
): { types: Declaration[]; qapi: string[] } {
  const found: Declaration[] = [];
  const qapi: string[] = [];
  const queue = [...declarations];
  for (const { name } of declarations) known.add(name);
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const from = sources.get(next.name)!;
    const text = readFileSync(join(folder, from.replace(/\.js$/, '.d.ts')), 'utf8');
    const code = next.code.replace(/\/\*(?:(?!\*\/)[\s\S])*\*\//g, '');
    for (const [word] of code.matchAll(/\b[A-Z]\w+\b/g)) {
      if (known.has(word)) continue;
      const source = importedFrom(text, word, from) ?? from;
      if (HOST.includes(source)) continue;
      const all = declarationsIn(readFileSync(join(folder, source.replace(/\.js$/, '.d.ts')), 'utf8'));
      const types = all.filter(({ name, code: its }) => name === word && /^(interface|type)/.test(its));
      if (types.length === 0) continue;
      known.add(word);
      // A list of words is short; what is larger has its reference in the schema.
      if (source === QAPI && !types.every(({ code: its }) => isListOfWords(its))) {
        qapi.push(word);
        continue;
      }
      sources.set(word, source);
      found.push(...types.map(withoutNodes));
      queue.push(...types.map(withoutNodes));
    }
  }
  return { types: found, qapi };
}

function isListOfWords(code: string): boolean {
  const words = code.replace(/\/\*(?:(?!\*\/)[\s\S])*\*\//g, '').replace(/\s+/g, ' ');
  return /^type \w+ =(?: \|)? '[\w-]+'(?: \| '[\w-]+')*;?$/.test(words.trim());
}

/** Members that hold a node are of the inside: the types that are exported leave them out. */
function withoutNodes(declaration: Declaration): Declaration {
  const code = declaration.code.replace(/^(?: {2}\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)? {2}\w+\??: BlockNode;\n/gm, '');
  return { ...declaration, code };
}

/** The file that `name` is imported from, as index.d.ts would say it; null where it is not imported. */
function importedFrom(text: string, name: string, file: string): string | null {
  for (const { names, from } of imports(text)) {
    if (from.startsWith('.') && names.includes(name)) return `./${posix.join(dirname(file), from)}`;
  }
  return null;
}

function imports(text: string): { names: string[]; from: string }[] {
  return [...text.matchAll(/^import (?:type )?\{([^}]*)\} from '([^']+)';/gm)].map(([, list, from]) => ({
    names: list.split(',').map((item) => item.trim().replace(/^type /, '')),
    from,
  }));
}

/** The table of contents: for each section a paragraph with a link to each of its headings. */
function contents(sections: readonly [string, readonly Declaration[]][]): string[] {
  const before = new Map<string, number>();
  // Headings that differ in capitals alone have the same link; the later ones get a number.
  const link = (name: string): string => {
    const anchor = name.toLowerCase();
    const count = before.get(anchor) ?? 0;
    before.set(anchor, count + 1);
    return `[${name}](#${anchor}${count === 0 ? '' : `-${count}`})`;
  };
  return sections.flatMap(([title, declarations]) => {
    const names = [...new Set(declarations.map(({ name }) => name))];
    return [`**${link(title)}**: ${names.map(link).join(', ')}.`, ''];
  });
}

/** Overloads stand together, under the first comment. */
function section(title: string, declarations: readonly Declaration[]): string[] {
  const lines = [`## ${title}`, ''];
  for (const name of new Set(declarations.map((declaration) => declaration.name))) {
    const all = declarations.filter((declaration) => declaration.name === name);
    lines.push(`### ${name}`, '');
    const comment = all.map((declaration) => declaration.comment).filter((text) => text !== '');
    if (comment.length > 0) lines.push(comment[0], '');
    lines.push('```ts', ...all.map(({ code }) => code), '```', '');
  }
  return lines;
}

interface Exported {
  name: string;
  /** A program cannot make one. */
  typeOnly: boolean;
}

function reexports(text: string): { names: Exported[]; from: string }[] {
  return [...text.matchAll(/^export (type )?\{([^}]*)\} from '([^']+)';/gm)].map(([, type, list, from]) => ({
    names: list
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '')
      .map((item) => ({ name: item.replace(/^type /, ''), typeOnly: type !== undefined || item.startsWith('type ') })),
    from,
  }));
}

function withoutConstructor(declaration: Declaration): Declaration {
  const code = declaration.code.replace(
    /^ {2}\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n {2}constructor\([^;]*;\n|^ {2}constructor\([^;]*;\n/gm,
    '',
  );
  return { ...declaration, code };
}

/** The exported declarations of a file, each with the comment before it. */
function declarationsIn(text: string): Declaration[] {
  const found: Declaration[] = [];
  const start =
    /(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?^export (?:declare )?((?:abstract )?(?:class|interface|type|function|const) (\w+))/gm;
  for (const match of text.matchAll(start)) {
    const from = match.index + match[0].length - match[2].length;
    found.push({
      name: match[3],
      comment: plain(match[1] ?? ''),
      code: publicPart(text.slice(from, endOf(text, from))),
    });
  }
  return found;
}

/** Where the declaration that begins at `from` ends: at its closing brace, or at the semicolon outside of all braces. */
function endOf(text: string, from: number): number {
  const braced = /^(abstract )?(class|interface)/.test(text.slice(from, from + 20));
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text.startsWith('/*', at)) at = text.indexOf('*/', at) + 1;
    const char = text[at];
    if ('{(['.includes(char)) depth++;
    if ('})]'.includes(char)) depth--;
    if (depth === 0 && (braced ? char === '}' : char === ';')) return at + 1;
  }
  return text.length;
}

/** Without what only TypeScript needs to know of. */
function publicPart(code: string): string {
  return code
    .replace(/^ {4}(#private|private constructor\(\));\n/gm, '')
    .replace(/^ {4}(?=\S)/gm, '  ')
    .replace(/^ {5}\*/gm, '   *');
}

function plain(comment: string): string {
  return comment
    .replace(/^\/\*\*\s?|\s*\*\/\s*$/g, '')
    .replace(/^\s*\* ?/gm, '')
    .trim();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(API_PAGE, apiPage());
