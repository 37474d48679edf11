// JSON as the monitor reads and writes it. What is expected was seen at qemu-storage-daemon 7.2.

import { expect } from 'chai';
import { MessageParser } from '../../src/qmp/json/parser.js';
import { writeJson } from '../../src/qmp/json/writer.js';

/** What the parser says of `bytes`, given in pieces of `size`: values, and errors without what all of them begin with. */
function parse(input: string | Uint8Array, size = 1): unknown[] {
  const found: unknown[] = [];
  const parser = new MessageParser({
    message: (value) => found.push(value),
    malformed: ({ message }) => found.push(`! ${message.replace('JSON parse error, ', '')}`),
  });
  const bytes = typeof input === 'string' ? Buffer.from(input) : input;
  for (let at = 0; at < bytes.length; at += size) parser.feed(bytes.subarray(at, at + size));
  return found;
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');

describe('monitor JSON: messages', () => {
  it('are read whole, split and joined', () => {
    const text = '{"a": [1, -2.5, "x\\n", null, true, {}], \'b\': {}}{"c":1}\r\n[ ]';
    const expected = [{ a: [1, -2.5, 'x\n', null, true, {}], b: {} }, { c: 1 }, []];
    for (const size of [1, 2, 7, 1000]) expect(parse(text, size)).to.deep.equal(expected);
  });

  it('are scalars too, once something follows', () => {
    expect(parse('7 "x" null nul 1')).to.deep.equal([7, 'x', null, "! invalid keyword 'nul'"]);
  });

  for (const [input, ...expected] of [
    ['{"a":1 "b":2}', '! expected separator in dict'],
    ['{"a":1,}', '! expecting value'],
    ['}', '! expecting value'],
    ['[1,]', '! expecting value'],
    ['[1 2]', '! expected separator in list'],
    ['{1:2}', '! key is not a string in object'],
    ['{"a" 1}', '! missing : in object pair'],
    ['{"a":1,"a":2}', '! duplicate key'],
    ['{a:1}', "! invalid keyword 'a'"],
    ['[}', '! expecting value'],
    ['{"a":@}', "! stray '@'", '! expecting value'],
    ['"a\tb" ', `! stray '"a\t'`],
    ['01}', "! stray '01'", '! expecting value'],
    ['-}', "! stray '-}'"],
    ['1.}', "! stray '1.}'"],
    ['1e}', "! stray '1e}'"],
    ['# c\n[]', "! stray '#'", []],
    ['@ 1 "x" nul\n[]', "! stray '@'", []],
    ['@[]', "! stray '@'", []],
    ['1a ', 1, "! invalid keyword 'a'"],
    ['tru_ ', "! invalid keyword 'tru'", "! stray '_'"],
    ['\u0001\u0002[]', "! stray '\u0001'", "! stray '\u0002'", []],
    ['"a\u0000b"\n[]', `! stray '"a'`, []],
    ['"\\x" ', '! invalid escape sequence in string'],
    ['"\\u12" ', '! \\u12" is not a valid Unicode character'],
    ['"\\ud83dx" ', '! \\ud83d is not a valid Unicode character'],
    ['"\\ud83d\\u0041" ', '! \\ud83d is not a valid Unicode character'],
    ['"\\uFFFF" ', '! \\uFFFF is not a valid Unicode character'],
    ['"\\ud83d\\ude00\\/\\\'" ', "\u{1f600}/'"],
  ] as [string, ...unknown[]][]) {
    it(`${JSON.stringify(input)}`, () => expect(parse(input)).to.deep.equal(expected));
  }

  it('may have U+0000 as two bytes, and nothing else that is no UTF-8', () => {
    expect(parse(latin1('"\xc0\x80\xc3\xa9" '))).to.deep.equal(['\0\u00e9']);
    for (const bad of ['\xed\xa0\x80', '\xf4\x90\x80\x80', '\x80', '\xc3', '\xc1\x81', '\xef\xbf\xbf']) {
      expect(parse(latin1(`"${bad}" `)), bad).to.deep.equal(['! invalid UTF-8 sequence in string']);
    }
    expect(parse(latin1('\xff\xff[]'))).to.deep.equal(["! stray '\ufffd'", "! stray '\ufffd'", []]);
  });

  it('have integers of 64 bits as they are', () => {
    expect(
      parse('[9007199254740993, 18446744073709551615, -9223372036854775808, 18446744073709551616, -0]'),
    ).to.deep.equal([[9007199254740993n, 18446744073709551615n, -9223372036854775808n, 2 ** 64, 0]]);
  });

  it('are nested 1024 deep at most', () => {
    expect(parse('['.repeat(1024) + ']'.repeat(1024), 5000)).to.have.lengthOf(1);
    expect(parse('['.repeat(1025), 5000)).to.deep.equal(['! JSON nesting depth limit exceeded']);
  });

  it('may have a member that an object has by itself', () => {
    const [value] = parse('{"__proto__": {"polluted": 1}, "constructor": 2}') as [object];
    expect(Object.keys(value)).to.deep.equal(['__proto__', 'constructor']);
    expect(({} as { polluted?: number }).polluted).to.equal(undefined);
  });
});

describe('monitor JSON: answers', () => {
  it('are one line of ASCII', () => {
    const value = { a: [1, true, null], b: { c: 'é\u007f\0"\\ud83d\u{1f600}' }, d: undefined };
    expect(writeJson(value)).to.equal(
      '{"a": [1, true, null], "b": {"c": "\\u00E9\\u007F\\u0000\\"\\\\ud83d\\uD83D\\uDE00"}}',
    );
  });

  it('are many lines where that is wanted', () => {
    expect(writeJson({ a: [], b: {}, c: [1] }, true)).to.equal(
      '{\n    "a": [\n    ],\n    "b": {\n    },\n    "c": [\n        1\n    ]\n}',
    );
  });

  for (const [value, text] of [
    [0.1, '0.10000000000000001'],
    [1e-7, '9.9999999999999995e-08'],
    [1e21, '1e+21'],
    [-0, '-0'],
    [2 ** 64, '1.8446744073709552e+19'],
    [123456789.12345679, '123456789.12345679'],
    [Number.POSITIVE_INFINITY, 'inf'],
    [18446744073709551615n, '18446744073709551615'],
    [1.5, '1.5'],
  ] as const) {
    it(`writes ${text} as C does`, () => expect(writeJson(value)).to.equal(text));
  }
});
