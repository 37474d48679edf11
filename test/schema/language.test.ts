// The schema language: what the parser takes and what it refuses.

import { expect } from 'chai';
import { writeIntrospection } from '../../scripts/schema/introspection.js';
import { writeManual } from '../../scripts/schema/manual.js';
import { readSchema } from '../../scripts/schema/model.js';
import { writeTable, writeTypes } from '../../scripts/schema/typescript.js';

const read = (source: string, others: Record<string, string> = {}) =>
  readSchema('main.qapi', (file) => (file === 'main.qapi' ? source : others[file]!));

const documented = (name: string, members: string[], expression: string): string =>
  `##\n# @${name}:\n#\n# Text.\n${members.map((member) => `#\n# @${member}: word\n`).join('')}##\n${expression}\n`;

const COLOUR = documented('Colour', ['red', 'blue'], "{ 'enum': 'Colour', 'data': [ 'red', 'blue' ] }");

describe('schema language', () => {
  it('makes a string union of an enum', () => {
    expect(writeTypes(read(COLOUR)))
      .to.contain('export type Colour =')
      .and.to.contain("| 'red'");
  });

  it('puts members of the base before its own, in the table', () => {
    const source =
      documented('Base', ['a'], "{ 'struct': 'Base', 'data': { 'a': 'str' } }") +
      documented('Sub', ['b-c'], "{ 'struct': 'Sub', 'base': 'Base', 'data': { '*b-c': [ 'int' ] } }");
    expect(writeTable(read(source))).to.contain(
      "Sub: { kind: 'struct', members: { a: { type: 'str' }, 'b-c': { type: ['int'], optional: true } } }",
    );
    expect(writeTypes(read(source)))
      .to.contain('interface Sub extends Base')
      .and.to.contain("'b-c'?: number[];");
  });

  it('makes a discriminated union, with empty branches', () => {
    const source =
      COLOUR +
      documented('Red', ['x'], "{ 'struct': 'Red', 'data': { 'x': 'bool' } }") +
      documented(
        'Paint',
        ['colour'],
        "{ 'union': 'Paint', 'base': { 'colour': 'Colour' }, 'discriminator': 'colour', 'data': { 'red': 'Red' } }",
      );
    const types = writeTypes(read(source));
    expect(types)
      .to.contain("(PaintBase & { colour: 'red' } & Red)")
      .and.to.contain("(PaintBase & { colour: 'blue' })");
  });

  it('lists commands and events with their types', () => {
    const source =
      documented('do-it', ['x'], "{ 'command': 'do-it', 'data': { 'x': 'str' }, 'returns': [ 'str' ] }") +
      documented('IT_IS_DONE', ['x'], "{ 'event': 'IT_IS_DONE', 'data': { 'x': 'str' } }");
    const types = writeTypes(read(source));
    expect(types).to.contain("'do-it': { arguments: DoItArguments; returns: string[] }");
    expect(types).to.contain('IT_IS_DONE: ItIsDoneEvent;');
  });

  it('reads an included file once', () => {
    const source = "{ 'include': 'colour.qapi' }\n{ 'include': 'colour.qapi' }\n";
    expect([...read(source, { 'colour.qapi': COLOUR }).keys()]).to.deep.equal(['Colour']);
  });

  const GENERATIONS = documented('CompatGeneration', ['1.0'], "{ 'enum': 'CompatGeneration', 'data': [ '1.0' ] }");

  it('tells an older form of a command from that of today, and what only an older QMP has', () => {
    const source =
      GENERATIONS +
      documented('Info', ['x'], "{ 'struct': 'Info', 'data': { 'x': { 'type': 'str', 'if': '1.0' } } }") +
      documented('do-it', [], "{ 'command': 'do-it', 'returns': 'Info' }") +
      documented('old_it', ['x'], "{ 'command': 'old_it', 'data': { 'x': 'str' }, 'if': '1.0' }") +
      documented(
        'do-it-1-0',
        ['y'],
        "{ 'command': 'do-it-1-0', 'form-of': 'do-it', 'if': '1.0', 'data': { 'y': 'str' } }",
      );
    const definitions = read(source);
    const table = writeTable(definitions);
    expect(table)
      .to.contain('"old_it":"1.0","do-it-1-0":"1.0"')
      .and.to.contain('{"do-it":{"do-it-1-0":"DoIt10Arguments"}}');
    expect(table).to.contain("Info: { kind: 'struct', members: {  } }");
    const types = writeTypes(definitions);
    expect(types).to.contain('x?: string;').and.to.contain('interface DoIt10Arguments');
    expect(types.slice(types.indexOf('interface QapiForms'))).to.contain("'do-it-1-0'");
    expect(types.slice(types.indexOf('interface QapiCommands'), types.indexOf('interface QapiForms'))).not.to.contain(
      '1-0',
    );
    const told = writeIntrospection(definitions);
    expect(told).to.contain('"name":"old_it","if":"1.0"').and.to.contain('{"name":"x","if":"1.0","type":"str"}');
    expect(told).not.to.contain('do-it-1-0');
    expect(writeManual(definitions))
      .to.contain('### do-it, with --compat 1.0')
      .and.to.contain('(Only with `--compat 1.0`.)');
  });

  it('gives a union the branches of another', () => {
    const source =
      COLOUR +
      documented('Red', ['x'], "{ 'struct': 'Red', 'data': { 'x': 'bool' } }") +
      documented(
        'Ink',
        ['colour', 'y'],
        "{ 'union': 'Ink', 'base': { 'colour': 'Colour', 'y': 'str' }, 'discriminator': 'colour', 'data': 'Paint' }",
      ) +
      documented(
        'Paint',
        ['colour'],
        "{ 'union': 'Paint', 'base': { 'colour': 'Colour' }, 'discriminator': 'colour', 'data': { 'red': 'Red' } }",
      );
    expect(writeTypes(read(source))).to.contain("(InkBase & { colour: 'red' } & Red)");
  });

  const refused: [string, string, RegExp][] = [
    ['a definition without documentation', "{ 'enum': 'A', 'data': [] }", /^main.qapi:1: 'A' is not documented/],
    [
      'a member without documentation',
      documented('A', [], "{ 'enum': 'A', 'data': [ 'x' ] }"),
      /'x' is not documented/,
    ],
    ['documentation of no member', documented('A', ['x'], "{ 'enum': 'A', 'data': [] }"), /'x' does not exist/],
    ['an unknown type', documented('A', ['x'], "{ 'struct': 'A', 'data': { 'x': 'B' } }"), /unknown type 'B'/],
    ['a second definition', COLOUR + COLOUR, /'Colour' is defined twice/],
    ['an unknown key', documented('A', [], "{ 'struct': 'A', 'data': {}, 'if': 'X' }"), /unknown key 'if'/],
    [
      'a base that inherits from itself',
      documented('A', [], "{ 'struct': 'A', 'base': 'A', 'data': {} }"),
      /inherits from itself/,
    ],
    [
      'an alternate that cannot be decided',
      COLOUR + documented('A', ['x', 'y'], "{ 'alternate': 'A', 'data': { 'x': 'str', 'y': 'Colour' } }"),
      /same kind of value/,
    ],
    [
      'a branch that the discriminator does not have',
      COLOUR +
        documented('S', [], "{ 'struct': 'S', 'data': {} }") +
        documented(
          'U',
          ['c'],
          "{ 'union': 'U', 'base': { 'c': 'Colour' }, 'discriminator': 'c', 'data': { 'green': 'S' } }",
        ),
      /branch 'green'/,
    ],
    [
      'branches of what is no union',
      COLOUR +
        documented('U', ['c'], "{ 'union': 'U', 'base': { 'c': 'Colour' }, 'discriminator': 'c', 'data': 'Colour' }"),
      /'Colour' is no union/,
    ],
    [
      'a condition that is no generation',
      documented('a', [], "{ 'command': 'a', 'if': '1.0' }"),
      /unknown condition '1.0'/,
    ],
    [
      'a form of no command',
      GENERATIONS + documented('a', [], "{ 'command': 'a', 'if': '1.0', 'form-of': 'b' }"),
      /a form of no command 'b'/,
    ],
    [
      'a form that is always there',
      documented('a', [], "{ 'command': 'a' }") + documented('b', [], "{ 'command': 'b', 'form-of': 'a' }"),
      /needs a condition/,
    ],
    [
      'types of the same name',
      documented('a-b', ['x'], "{ 'command': 'a-b', 'data': { 'x': 'str' } }") +
        documented('a_b', ['x'], "{ 'command': 'a_b', 'data': { 'x': 'str' } }"),
      /two types are called ABArguments/,
    ],
    ['a string without an end', "{ 'enum", /string without an end/],
    ['a missing comma', "{ 'a': 'b' 'c': 'd' }", /expected ',' or '}'/],
    ['a duplicate key', "{ 'a': 'b', 'a': 'd' }", /duplicate key 'a'/],
    ['documentation at the end', '##\n# @A:\n##\n', /belongs to nothing/],
  ];
  for (const [what, source, message] of refused) {
    it(`refuses ${what}`, () => {
      expect(() => writeTypes(read(source))).to.throw(message);
    });
  }
});
