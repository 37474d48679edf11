// What is no message, and what is at the edge of one: the same bytes to both monitors, the same answers in the same order.

import { requirePeer } from '../../support/peers.js';
import { expectSameLines } from './raw.js';

const NEGOTIATED = '{"execute":"qmp_capabilities"}';
const nested = (depth: number): string => `{"execute":"query-jobs","id":${'['.repeat(depth)}${']'.repeat(depth)}}`;
const bytes = (...parts: (string | number[])[]): Buffer =>
  Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))));

describe('qmp against qemu-storage-daemon: limits and broken messages', () => {
  before(function () {
    requirePeer(this, 'qemu-storage-daemon');
  });

  const same = (title: string, ...pieces: (string | Buffer)[]): void => {
    it(title, () => expectSameLines([NEGOTIATED, ...pieces]));
  };

  same(
    'brackets within brackets, up to the limit and beyond it',
    nested(1022),
    nested(1023),
    nested(1024),
    nested(2000),
  );

  same(
    'a message that is too deep is skipped to its end',
    `${nested(1500)}{"execute":"query-jobs","id":"next"}`,
    '[[[}',
    '{"execute":"query-jobs","id":1}',
  );

  const INTEGERS = ['-9223372036854775808', '-9007199254740993', '-1', '0', '1', '2147483648', '4294967296']
    .concat(['9007199254740991', '9007199254740993', '9223372036854775807', '9223372036854775808'])
    .concat(['18446744073709551615', '18446744073709551616', '-9223372036854775809', '1e30', '0.5']);
  /** With an integer in the place of `N`; where it is taken, there is no such node, or nothing is left of it. */
  const TAKE_INTEGERS = [
    '{"execute":"block-set-write-threshold","arguments":{"node-name":"null","write-threshold":N}}',
    '{"execute":"block-job-set-speed","arguments":{"device":"none","speed":N}}',
    '{"execute":"block-commit","arguments":{"device":"none","speed":N}}',
    '{"execute":"blockdev-mirror","arguments":{"device":"none","target":"none","sync":"full","buf-size":N}}',
    '{"execute":"blockdev-mirror","arguments":{"device":"none","target":"none","sync":"full","granularity":N}}',
    '{"execute":"block-dirty-bitmap-add","arguments":{"node":"none","name":"b","granularity":N}}',
    '{"execute":"ringbuf-read","arguments":{"device":"none","size":N}}',
    '{"execute":"qom-set","arguments":{"path":"/objects/given","property":"limits","value":{"bps-total-max":N}}}',
    '{"execute":"qom-set","arguments":{"path":"/objects/given","property":"limits","value":{"iops-size":N}}}',
  ];
  same(
    'integers at the ends of what 64 bits hold',
    '{"execute":"blockdev-add","arguments":{"driver":"null-co","node-name":"null"}}',
    '{"execute":"object-add","arguments":{"qom-type":"throttle-group","id":"given"}}',
    ...TAKE_INTEGERS.map((text) => INTEGERS.map((integer) => text.replace('N', integer)).join('\n')),
  );

  same(
    'a string of many bytes, and a name of many bytes',
    `{"execute":"query-jobs","id":"${'x'.repeat(20_000)}"}`,
    `{"execute":"query-jobs","${'y'.repeat(1000)}":1}`,
    `{"execute":"${'z'.repeat(1000)}"}`,
  );

  same(
    'numbers at their edges',
    ...[
      '9223372036854775807',
      '18446744073709551615',
      '-9223372036854775808',

      '-0',
      '00',
      '1.',
      '.5',
      '+1',
    ].map((number) => `{"execute":"query-jobs","id":${number}}\n`),
  );

  same(
    'bytes that are not UTF-8',
    bytes('{"execute":"query-jobs","id":"', [0xff], '"}\n'),
    bytes('{"execute":"query-jobs","id":"', [0xc0, 0x80], '"}\n'),
    bytes('{"execute":"query-jobs","id":"', [0xed, 0xa0, 0x80], '"}\n'),
    bytes('{"execute":"query-jobs","id":"', [0xf4, 0x90, 0x80, 0x80], '"}\n'),
    bytes('{"execute":"query-jobs","id":"', [0xe2, 0x82], '"}\n'),
    bytes([0xff], '{"execute":"query-jobs","id":1}'),
    bytes([0xef, 0xbb, 0xbf], '{"execute":"query-jobs","id":2}'),
  );

  same(
    'characters that JSON does not allow, and escapes',
    ...['\\u0000', '\\ud83d\\ude00', '\\ud83d', '\\ude00', '\\x', '\\', '\t', '\u0001', '\\/', "'", '\\u12g4'].map(
      (text) => `{"execute":"query-jobs","id":"${text}"}\n`,
    ),
    '"}\n',
  );

  same(
    'messages in pieces, and several in one',
    '{"execute":"que',
    'ry-jobs","id":"sp',
    'lit"}{"execute":"query-jobs","id":2}{"exe',
    'cute":"query-jobs","id":3}',
    bytes('{"execute":"query-jobs","id":"', [0xe2]),
    bytes([0x82, 0xac], '"}'),
  );

  same(
    'what is no object, or has not what a command has',
    ...[
      '[]',
      '1',
      '"a"',
      'null',
      'true',
      'frob',
      '{}',
      '{"execute":1}',
      '{"id":5}',
      '{"execute":"query-jobs",}',
      '{,}',
      '}',
      ']',
      '@',
      '{"a" "b"}',
    ].map((text) => `${text}\n`),
  );

  same(
    'a name that comes twice',
    '{"execute":"query-jobs","execute":"query-jobs"}',
    '{"execute":"query-jobs","id":1,"id":2}',
  );

  same(
    'many commands at once are answered in their order',
    Array.from({ length: 300 }, (_, id) => `{"execute":"query-jobs","id":${id}}`).join(''),
  );
});
