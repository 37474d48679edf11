// Reads the notation of QAPI schema files: JSON with single quotes, `#` comments and `##` documentation blocks.
//
//   ##                        \  documentation block: text and one `@member:` section a member,
//   # @Name: ...               | belongs to the expression that follows
//   ##                        /
//   { 'struct': 'Name', 'data': { '*member': 'str' } }

export type SchemaValue = string | boolean | SchemaValue[] | { [key: string]: SchemaValue };

export interface Documentation {
  /** Name in the block's first line. */
  symbol: string;
  text: string;
  /** Text of each `@member:` section, in order. */
  members: Map<string, string>;
}

export interface Expression {
  value: { [key: string]: SchemaValue };
  documentation?: Documentation;
  line: number;
}

/** A mistake in a schema file; the message begins with `file:line`. */
export class SchemaError extends Error {
  constructor(file: string, line: number, message: string) {
    super(`${file}:${line}: ${message}`);
  }
}

/** All expressions of one schema file. Throws `SchemaError`. */
export function readExpressions(file: string, source: string): Expression[] {
  const reader = new Reader(file, source);
  const expressions: Expression[] = [];
  for (;;) {
    const documentation = reader.skipToExpression();
    if (reader.atEnd()) {
      if (documentation !== undefined) reader.fail(`documentation of '${documentation.symbol}' belongs to nothing`);
      return expressions;
    }
    const line = reader.line;
    const value = reader.value();
    if (typeof value !== 'object' || Array.isArray(value)) reader.fail('expected an object');
    else expressions.push({ value, line, ...(documentation && { documentation }) });
  }
}

class Reader {
  line = 1;
  private position = 0;
  private readonly file: string;
  private readonly source: string;

  constructor(file: string, source: string) {
    this.file = file;
    this.source = source;
  }

  fail(message: string): never {
    throw new SchemaError(this.file, this.line, message);
  }

  atEnd(): boolean {
    return this.position >= this.source.length;
  }

  /** Skips blanks and comments; the last documentation block on the way belongs to what follows. */
  skipToExpression(): Documentation | undefined {
    let documentation: Documentation | undefined;
    for (;;) {
      this.skipBlanks();
      if (this.source[this.position] !== '#') return documentation;
      if (this.source.startsWith('##', this.position)) {
        if (documentation !== undefined) this.fail(`documentation of '${documentation.symbol}' belongs to nothing`);
        documentation = this.documentationBlock();
      } else {
        this.takeLine();
      }
    }
  }

  value(): SchemaValue {
    this.skipBlanksAndComments();
    const character = this.source[this.position];
    if (character === '{') return this.object();
    if (character === '[') return this.array();
    if (character === "'") return this.string();
    for (const [word, meaning] of [
      ['true', true],
      ['false', false],
    ] as const) {
      if (this.source.startsWith(word, this.position)) {
        this.position += word.length;
        return meaning;
      }
    }
    return this.fail(character === undefined ? 'unexpected end of file' : `unexpected '${character}'`);
  }

  private object(): SchemaValue {
    const object: { [key: string]: SchemaValue } = {};
    this.list('}', () => {
      if (this.source[this.position] !== "'") this.fail('expected a quoted key');
      const key = this.string();
      if (Object.hasOwn(object, key)) this.fail(`duplicate key '${key}'`);
      this.skipBlanksAndComments();
      if (this.source[this.position] !== ':') this.fail(`expected ':' after '${key}'`);
      this.position++;
      object[key] = this.value();
    });
    return object;
  }

  private array(): SchemaValue {
    const array: SchemaValue[] = [];
    this.list(']', () => array.push(this.value()));
    return array;
  }

  private list(close: string, item: () => void): void {
    this.position++;
    this.skipBlanksAndComments();
    if (this.source[this.position] === close) {
      this.position++;
      return;
    }
    for (;;) {
      this.skipBlanksAndComments();
      item();
      this.skipBlanksAndComments();
      const character = this.source[this.position];
      if (character !== ',' && character !== close) this.fail(`expected ',' or '${close}'`);
      this.position++;
      if (character === close) return;
    }
  }

  private string(): string {
    const end = this.source.indexOf("'", this.position + 1);
    const text = this.source.slice(this.position + 1, end);
    if (end < 0 || text.includes('\n')) this.fail('string without an end');
    this.position = end + 1;
    return text;
  }

  private documentationBlock(): Documentation {
    this.takeLine();
    const head = /^# @([^:]+):$/.exec(this.takeLine());
    if (head === null) this.fail("a documentation block begins with '# @Name:'");
    const members = new Map<string, string>();
    const sections: { name: string | undefined; words: string[] }[] = [{ name: undefined, words: [] }];
    for (;;) {
      if (this.atEnd()) this.fail('documentation block without an end');
      const line = this.takeLine();
      if (line === '##') break;
      if (!line.startsWith('#')) this.fail("a line of documentation begins with '#'");
      const section = /^# @([^:\s]+):\s*(.*)$/.exec(line);
      if (section !== null) sections.push({ name: section[1]!, words: [section[2]!] });
      else sections.at(-1)!.words.push(line.slice(1).trim());
    }
    for (const { name, words } of sections.slice(1)) {
      if (members.has(name!)) this.fail(`'@${name}' is documented twice`);
      members.set(name!, joinWords(words));
    }
    return { symbol: head[1]!, text: joinWords(sections[0]!.words), members };
  }

  private takeLine(): string {
    const end = this.source.indexOf('\n', this.position);
    const line = this.source.slice(this.position, end < 0 ? undefined : end);
    this.position = end < 0 ? this.source.length : end + 1;
    this.line++;
    return line.trimEnd();
  }

  private skipBlanks(): void {
    for (; /\s/.test(this.source[this.position] ?? ''); this.position++) {
      if (this.source[this.position] === '\n') this.line++;
    }
  }

  private skipBlanksAndComments(): void {
    for (;;) {
      this.skipBlanks();
      if (this.source[this.position] !== '#') return;
      this.takeLine();
    }
  }
}

function joinWords(words: string[]): string {
  return words.join(' ').replace(/\s+/g, ' ').trim();
}
