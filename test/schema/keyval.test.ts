// Option strings: the notation, and what it refuses.

import { expect } from 'chai';
import { flatten, parseKeyval, unflatten } from '../../src/schema/keyval.js';
import { BlockError } from '../../src/util/errors.js';

describe('option strings', () => {
  const taken: [string, object][] = [
    ['', {}],
    ['null-co', { driver: 'null-co' }],
    ['null-co,node-name=a', { driver: 'null-co', 'node-name': 'a' }],
    ['node-name=a', { 'node-name': 'a' }],
    ['a=1,', { a: '1' }],
    ['a=1,b=', { a: '1', b: '' }],
    ['a=x,,y,b=,,', { a: 'x,y', b: ',' }],
    ['a=b=c', { a: 'b=c' }],
    ['a=1,a=2', { a: '2' }],
    ['a.b.c=1,a.d=2', { a: { b: { c: '1' }, d: '2' } }],
    ['a.0=x,a.1=y', { a: ['x', 'y'] }],
    ['a.1=y,a.0.b=x', { a: [{ b: 'x' }, 'y'] }],
  ];
  for (const [text, expected] of taken) {
    it(`reads '${text}'`, () => {
      expect(parseKeyval(text, 'driver')).to.deep.equal(expected);
    });
  }

  const refused: [string, string][] = [
    ['=x', "Invalid parameter ''"],
    ['a..b=x', "Invalid parameter 'a..b'"],
    ['a.=x', "Invalid parameter 'a.'"],
    ['.a=x', "Invalid parameter '.a'"],
    ['0.x=1', "Invalid parameter '0.x'"],
    ['si ze=1', "Invalid parameter 'si ze'"],
    ['__proto__.x=1', "Invalid parameter '__proto__.x'"],
    ['null-co,,node-name=a', "Invalid parameter ''"],
    ['a=1,read-only', "Expected '=' after parameter 'read-only'"],
    ['a=on,a.b=on', "Parameters 'a.*' used inconsistently"],
    ['a.b=on,a=on', "Parameters 'a.*' used inconsistently"],
    ['x.0=1,x.y=3', "Parameters 'x.*' used inconsistently"],
    ['x.0=1,x.2=3', "Parameter 'x.1' missing"],
    ['x.99999999999=3', "Parameter 'x.0' missing"],
    [`${'k'.repeat(128)}=1`, `Invalid parameter '${'k'.repeat(128)}'`],
  ];
  for (const [text, message] of refused) {
    it(`refuses '${text.slice(0, 30)}'`, () => {
      expect(() => parseKeyval(text, 'driver'))
        .to.throw(BlockError, message)
        .with.property('code', 'invalid-argument');
    });
  }

  it('flattens what it nests', () => {
    const nested = { a: { b: [1, { c: null }] }, d: true };
    expect(unflatten(flatten(nested))).to.deep.equal(nested);
  });

  it('refuses options nested without bound', () => {
    const loop: Record<string, unknown> = {};
    loop['a'] = loop;
    expect(() => flatten(loop)).to.throw(BlockError, 'nested too deeply');
  });
});
