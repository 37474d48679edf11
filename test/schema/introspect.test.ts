// Of all that the schema defines, `query-qmp-schema` shows what is there, and no type that nothing leads to.

import { expect } from 'chai';
import { type ConditionalInfo, visibleSchema } from '../../src/schema/introspect.js';

const object = (name: string, ...members: NonNullable<ConditionalInfo['members']>): ConditionalInfo => ({
  name,
  'meta-type': 'object',
  members,
});

const ALL: readonly ConditionalInfo[] = [
  { name: 'do-it', 'meta-type': 'command', 'arg-type': '0', 'ret-type': '1' },
  { name: 'old_it', 'meta-type': 'command', if: '2.1', 'arg-type': '2', 'ret-type': '0' },
  { name: 'DONE', 'meta-type': 'event', 'arg-type': '[3]' },
  object('0'),
  object('1', { name: 'a', type: '4' }, { name: 'b', if: '2.1', type: '5' }),
  object('2', { name: 'again', type: '2' }),
  { name: '[3]', 'meta-type': 'array', 'element-type': '3' },
  { ...object('3'), variants: [{ case: 'x', type: '6' }] },
  object('4'),
  object('5'),
  object('6'),
];

const names = (infos: readonly { name: string }[]): string[] => infos.map(({ name }) => name);

describe('the schema that a monitor shows', () => {
  it('has neither what an older QMP alone has, nor the types of that', () => {
    const shown = visibleSchema(ALL, new Set());
    expect(names(shown)).to.deep.equal(['do-it', 'DONE', '0', '1', '[3]', '3', '4', '6']);
    expect(shown[3]).to.deep.equal(object('1', { name: 'a', type: '4' }));
  });

  it('has all with that QMP, and says no conditions', () => {
    const shown = visibleSchema(ALL, new Set(['2.1'] as const));
    expect(names(shown)).to.deep.equal(names(ALL));
    expect(shown[4]).to.deep.equal(object('1', { name: 'a', type: '4' }, { name: 'b', type: '5' }));
  });
});
