// JSON as QEMU reads it.

import { expect } from 'chai';
import { parseJson } from '../../src/schema/json.js';
import { BlockError } from '../../src/util/errors.js';

describe("JSON in QEMU's dialect", () => {
  for (const text of [
    '{}',
    '[]',
    '{"a": [1, -2.5e3, true, false, null, "x"], "b": {"c": ""}}',
    '"\\u00e9\\n\\\\\\/\\ud83d\\ude00"',
    '0',
  ]) {
    it(`reads ${text} as the standard has it`, () => {
      expect(parseJson(text)).to.deep.equal(JSON.parse(text));
    });
  }

  it('takes strings in single quotes, also with a quote inside', () => {
    expect(parseJson(`{'a': 'it\\'s', "b": 'say "x"'}`)).to.deep.equal({ a: "it's", b: 'say "x"' });
  });

  it('keeps the digits of a number that a double cannot hold', () => {
    expect(parseJson('[9007199254740993, 18446744073709551615]')).to.deep.equal([
      '9007199254740993',
      '18446744073709551615',
    ]);
  });

  it('makes members that are named as those of every object, and no prototype', () => {
    const value = parseJson('{"__proto__": {"a": 1}}') as object;
    expect(Object.keys(value)).to.deep.equal(['__proto__']);
    expect('a' in value).to.equal(false);
  });

  const refused: [string, string][] = [
    ['', 'Expecting a JSON value'],
    ['{} x', 'Expecting at most one JSON value'],
    ['{', 'JSON parse error, premature EOI'],
    ["{'a':1,}", 'JSON parse error, expecting value'],
    ['{"a" 1}', 'JSON parse error, missing : in object pair'],
    ['{1:2}', 'JSON parse error, key is not a string in object'],
    ['{"a":1 "b":2}', 'JSON parse error, expected separator in dict'],
    ["{'a':1,'a':2}", 'JSON parse error, duplicate key'],
    ['{"a":tru}', "JSON parse error, invalid keyword 'tru'"],
    ['{"a":01}', "JSON parse error, stray '01'"],
    ["{'abc", "JSON parse error, stray ''abc'"],
    ['{"a":"\\x"}', 'JSON parse error, invalid escape sequence in string'],
    ['{"a":"\\ud800"}', 'JSON parse error, \\ud800 is not a valid Unicode character'],
    ['['.repeat(5000), 'JSON parse error, nesting is too deep'],
  ];
  for (const [text, message] of refused) {
    it(`says of ${text.slice(0, 20)}: ${message}`, () => {
      expect(() => parseJson(text)).to.throw(BlockError, message);
    });
  }
});
