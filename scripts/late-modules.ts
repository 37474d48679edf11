// Of the command line's modules, a small command needs a third. In the bundle that this plugin makes, a module runs when something of it is used for the
// first time, not when a module that imports it runs:
//
//   import { parse } from './size.js';        var import_size;
//   export const LIMIT = 7;             ->    var $exports = module.exports = { __proto__: null, limit, LIMIT: void 0 };
//   export function limit(text) {             function limit(text) {
//     return parse(text);                       return (0, (import_size ??= require("./size.js")).parse)(text);
//   }                                         }
//                                             const LIMIT = 7;
//                                             $exports.LIMIT = LIMIT;
//
// An object without a prototype is a dictionary from the beginning; otherwise V8 would make a hidden class for each name that it gets.
//
// The exact version of esbuild is in package.json: another one may write another form, which is refused by name then.
// esbuild makes a function of each such module. What is in one that is never called costs nothing but its text: no function of it is made, nor is it in
// V8's code cache (measured: a third of the time that `info` takes beyond node's own).

import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { type Plugin, transform } from 'esbuild';

const NAMESPACE = 'module';

/**
 * Modules of large constants alone. They are in the bundle as JSON: V8 makes objects from it several times as fast as by running code, and its cache has
 * the text instead of a description of each object.
 */
const CONSTANTS = ['schema/generated/table.ts', 'schema/generated/introspection.ts'];

/** A plugin for esbuild, which takes the TypeScript modules below `folder`. `define`: as esbuild's. */
export function lateModules(folder: string, define: Record<string, string>): Plugin {
  return {
    name: 'late-modules',
    setup(build) {
      build.onResolve({ filter: /^\.{0,2}\// }, ({ path, resolveDir }) => ({
        path: relative(folder, join(path.startsWith('/') ? '' : resolveDir, path)).replace(/\.js$/, '.ts'),
        namespace: NAMESPACE,
      }));
      build.onLoad({ filter: /\.ts$/, namespace: NAMESPACE }, async ({ path }) => {
        const file = join(folder, path);
        const { code } = await transform(readFileSync(file, 'utf8'), {
          loader: 'ts',
          format: 'cjs',
          target: 'node20',
          platform: 'neutral',
          charset: 'ascii',
          define,
          sourcefile: path,
        });
        const constants = CONSTANTS.includes(path) ? asJson(code) : null;
        return { contents: constants ?? late(code, path), loader: 'js', resolveDir: dirname(file) };
      });
    },
  };
}

/** The imports and exports of `code`, a module that esbuild has turned from ESM into CommonJS, in the form above. */
export function late(code: string, path: string): string {
  const start = code.indexOf('\nmodule.exports = ');
  const exported = exportsOf(code.slice(0, Math.max(start, 0)));
  let body = start < 0 ? code.replace(/^(?:var __\w+ = .*\n)+/, '') : code.slice(code.indexOf('\n', start + 1) + 1);
  const imports = new Map<string, string>();
  body = body.replace(
    /^var (import_\w+) = (?:__toESM\()?(require\("[^"]+"\))\)?;\n/gm,
    (_, name: string, found: string) => {
      imports.set(name, found);
      return '';
    },
  );
  // `...import_roles.ROLES` is a use, `this.import_roles` is none.
  const late = (text: string): string =>
    text.replace(/(?<![\w$])(?<!(?<!\.\.)\.)import_\w+/g, (name) => {
      const found = imports.get(name);
      if (found === undefined) throw new Error(`${path}: ${name} is imported in a way that is not known here`);
      return `(${name} ??= ${found})`;
    });
  body = late(body.replace(/\n\/\/ Annotate the CommonJS[\s\S]*$/, '\n'));
  if (/^(__\w+\(|var \w+ = __toESM\()/m.test(body))
    throw new Error(`${path}: it imports or exports in a way that is not known here`);
  const kinds = exported.map(([name, value]) => ({ name, value, kind: kindOf(value, body) }));
  const members = kinds.map(({ name, value, kind }) => {
    if (kind === 'function') return `${name}: ${value}`;
    return kind === 'constant' ? `${name}: void 0` : `get ${name}() { return ${late(value)}; }`;
  });
  const constants = kinds.filter(({ kind }) => kind === 'constant');
  return [
    '"use strict";',
    imports.size === 0 ? '' : `var ${[...imports.keys()].join(', ')};`,
    exported.length === 0 ? '' : `var $exports = module.exports = { __proto__: null, ${members.join(', ')} };`,
    body,
    ...constants.map(({ name, value }) => `$exports.${name} = ${value};`),
  ].join('\n');
}

/**
 * The bundle `text`, minified, with one function for each module and numbers for names. Esbuild makes two functions of each, a variable, and an object whose
 * only method has the module's name, for which V8 makes a hidden class:
 *
 *   var require_size=__commonJS({"module:util/size.ts"(exports,module){...}})   ->   $modules[7]=((exports,module)=>{{"util/size.ts";...}})
 *   require_size()                                                              ->   $use(7)
 *
 * Eight neighbours are made together, when one of them is asked for. With the longer form, and all made at once, V8 collected garbage in each small command.
 */
export function plainWrappers(text: string): string {
  const numbers = new Map<string, number>();
  const count = text.match(/\bvar require_\w+=/g)?.length ?? 0;
  // Where the last module ends cannot be seen: it is in no group.
  const whole = Math.floor((count - 1) / NEIGHBOURS) * NEIGHBOURS;
  const defined = text.replace(
    /\bvar (require_\w+)=__commonJS\(\{"module:([^"]+)"(\(\w*(?:,\w+)?\))\{/g,
    (_, name: string, path: string, parameters: string) => {
      const number = numbers.size;
      numbers.set(name, number);
      const first = number % NEIGHBOURS === 0 && number <= whole;
      const end = first && number > 0 ? '};' : '';
      const begin = first && number < whole ? `$groups[${number / NEIGHBOURS}]=()=>{` : '';
      return `${end}${begin}$modules[${number}]=(${parameters}=>{{"${path}";`;
    },
  );
  const used = defined.replace(/\b(require_\w+)\(\)/g, (call, name: string) => {
    const number = numbers.get(name);
    return number === undefined ? call : `$use(${number})`;
  });
  if (numbers.size === 0 || /\brequire_\w+|__commonJS\(/.test(used) || used.split(STRICT).length < 2)
    throw new Error('esbuild wraps modules in a way that is not known here');
  return used.replace(STRICT, () => `${STRICT}${USE}`);
}

const STRICT = '"use strict";';
const NEIGHBOURS = 8;
/** As esbuild's `__commonJS`: a module that throws runs again when it is asked for again. */
const USE =
  `var $groups=[],$modules=[],$made=[];function $use(i){var made=$made[i];if(made===void 0){made=$made[i]={exports:{}};$modules[i]||$groups[i/${NEIGHBOURS}|0]();` +
  'try{$modules[i](made.exports,made)}catch(e){$made[i]=void 0;throw e}}return made.exports}';

/** This function goes into the bundle as it is. */
const MEMBERS = readFileSync(new URL('late-members.cjs', import.meta.url), 'utf8');

/** A module that exports what `code` does, where that is plain objects, arrays and sets. */
export function asJson(code: string): string {
  const module = { exports: {} as Record<string, unknown> };
  new Function('module', code)(module);
  const lines = Object.keys(module.exports).map((name) => `${name}: ${expressionOf(module.exports[name])}`);
  return `"use strict";\n${MEMBERS}\nmodule.exports = { ${lines.join(',\n')} };`;
}

function expressionOf(value: unknown): string {
  if (value instanceof Set) return `new Set(${expressionOf([...value])})`;
  const large =
    typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > LARGE;
  if (!large) return `JSON.parse(${JSON.stringify(JSON.stringify(value))})`;
  const texts = Object.entries(value).map(([name, member]) => `${name} ${JSON.stringify(member)}\n`);
  return `members(${JSON.stringify(`\n${texts.join('')}`)})`;
}

/** An object of so many members is read member by member. */
const LARGE = 100;

/** Pairs of the name of an export and what it stands for, as esbuild writes them. */
function exportsOf(head: string): [name: string, value: string][] {
  const list = /^__export\(\w+, \{\n([\s\S]*?)\n\}\);/m.exec(head)?.[1] ?? '';
  return [...list.matchAll(/^ {2}(\w+): \(\) => ([\w.$]+),?$/gm)].map(([, name, value]) => [name, value]);
}

/** A function is there from the beginning, a constant or a class from its line on; anything else (a variable, what another module exports) may change. */
function kindOf(value: string, body: string): 'function' | 'constant' | 'other' {
  const name = value.replaceAll('$', '\\$');
  if (new RegExp(`^(async )?function\\*? ${name}\\(`, 'm').test(body)) return 'function';
  return new RegExp(`^(const|class) ${name}\\b`, 'm').test(body) ? 'constant' : 'other';
}
