// The validator: what it takes, and that it refuses in QMP's words.

import { expect } from 'chai';
import type { QapiTypes } from '../../src/schema/generated/types.js';
import { validate } from '../../src/schema/validate.js';
import { BlockError, type BlockErrorCode } from '../../src/util/errors.js';

function failure(action: () => unknown): BlockError {
  try {
    action();
  } catch (error) {
    expect(error).to.be.instanceOf(BlockError);
    return error as BlockError;
  }
  throw new Error('nothing was thrown');
}

const FILE = { driver: 'file', filename: 'a' } as const;

describe('validate', () => {
  it('takes nested options and leaves them as they are', () => {
    const options = {
      driver: 'qcow2',
      'node-name': 'top',
      cache: { direct: true },
      file: FILE,
      backing: { driver: 'qcow2', file: 'other', backing: null },
      'overlap-check': { template: 'all', 'active-l2': false },
    };
    expect(validate('BlockdevOptions', options)).to.deep.equal(options);
  });

  it('returns a copy', () => {
    const cache = { direct: true };
    const result = validate('BlockdevOptions', { ...FILE, cache });
    cache.direct = false;
    expect(result.cache).to.deep.equal({ direct: true });
  });

  it('treats an undefined member as absent', () => {
    expect(validate('BlockdevOptions', { ...FILE, locking: undefined, whatever: undefined })).to.deep.equal(FILE);
  });

  it('takes both kinds of an alternate', () => {
    const merge = { node: 'n', target: 't', bitmaps: ['a', { node: 'm', name: 'b' }] };
    expect(validate('BlockDirtyBitmapMerge', merge)).to.deep.equal(merge);
  });

  it('reads numbers, sizes and switches from text where that is allowed', () => {
    const options = { driver: 'null-co', size: '1.5G', 'latency-ns': '0x1f', 'read-zeroes': 'on', 'read-only': 'n' };
    expect(validate('BlockdevOptions', options, { strings: true })).to.deep.equal({
      driver: 'null-co',
      size: 1610612736,
      'latency-ns': 31,
      'read-zeroes': true,
      'read-only': false,
    });
  });

  it('takes empty text for null where text is allowed', () => {
    const options = validate('BlockdevOptions', { driver: 'qcow2', file: FILE, backing: '' }, { strings: true });
    expect(options).to.have.property('backing', null);
  });

  const refused: [keyof QapiTypes, unknown, string, BlockErrorCode?][] = [
    ['BlockdevOptions', {}, "Parameter 'driver' is missing"],
    ['BlockdevOptions', { driver: 5 }, "Invalid parameter type for 'driver', expected: string"],
    ['BlockdevOptions', { driver: 'zz' }, "Parameter 'driver' does not accept value 'zz'"],
    ['BlockdevOptions', { driver: 'constructor' }, "Parameter 'driver' does not accept value 'constructor'"],
    ['BlockdevOptions', { driver: 'file' }, "Parameter 'filename' is missing"],
    ['BlockdevOptions', { driver: 'file', filename: 5 }, "Invalid parameter type for 'filename', expected: string"],
    ['BlockdevOptions', { ...FILE, foo: 1 }, "Parameter 'foo' is unexpected", 'unknown-option'],
    ['BlockdevOptions', { ...FILE, cache: { dir: 1 } }, "Parameter 'cache.dir' is unexpected", 'unknown-option'],
    ['BlockdevOptions', { ...FILE, cache: 1 }, "Invalid parameter type for 'cache', expected: object"],
    ['BlockdevOptions', { ...FILE, cache: [] }, "Invalid parameter type for 'cache', expected: object"],
    [
      'BlockdevOptions',
      { ...FILE, cache: { direct: 5 } },
      "Invalid parameter type for 'cache.direct', expected: boolean",
    ],
    ['BlockdevOptions', { ...FILE, 'read-only': 'on' }, "Invalid parameter type for 'read-only', expected: boolean"],
    ['BlockdevOptions', { driver: 'null-co', size: '5' }, "Invalid parameter type for 'size', expected: integer"],
    ['BlockdevOptions', { driver: 'null-co', size: 1.5 }, "Invalid parameter type for 'size', expected: integer"],
    [
      'BlockdevOptions',
      { driver: 'null-co', size: Number.NaN },
      "Invalid parameter type for 'size', expected: integer",
    ],
    ['BlockdevOptions', { driver: 'null-co', size: -1 }, "Parameter 'size' expects a non-negative number below 2^64"],
    ['BlockdevCreateOptions', { driver: 'file', filename: 'f', size: 'x' }, "Parameter 'size' expects uint64"],
    ['BlockdevOptions', { driver: 'null-co', size: 2 ** 53 }, "Parameter 'size' is beyond 9007199254740991 (2^53 - 1)"],
    ['BlockdevOptions', { driver: 'raw', file: 5 }, "Invalid parameter type for 'file', expected: BlockdevRef"],
    ['BlockdevOptions', { driver: 'raw', file: null }, "Invalid parameter type for 'file', expected: BlockdevRef"],
    [
      'BlockdevOptions',
      { driver: 'qcow2', file: 'f', backing: true },
      "Invalid parameter type for 'backing', expected: BlockdevRefOrNull",
    ],
    ['BlockdevOptions', { driver: 'raw', file: { driver: 'file' } }, "Parameter 'file.filename' is missing"],
    [
      'BlockdevOptions',
      { driver: 'qcow2', file: 'f', 'overlap-check': 'foo' },
      "Parameter 'overlap-check' does not accept value 'foo'",
    ],
    [
      'BlockdevOptions',
      { driver: 'qcow2', file: 'f', 'extent-file': 'd' },
      "Parameter 'extent-file' is unexpected",
      'unknown-option',
    ],
    [
      'BlockDirtyBitmapMerge',
      { node: 'x', target: 'y', bitmaps: ['a', { node: 5 }] },
      "Invalid parameter type for 'bitmaps[1].node', expected: string",
    ],
    [
      'BlockDirtyBitmapMerge',
      { node: 'x', target: 'y', bitmaps: 5 },
      "Invalid parameter type for 'bitmaps', expected: array",
    ],
    ['BlockDirtyBitmapAdd', { node: 'x', name: 'y', granularity: -1 }, "Parameter 'granularity' expects uint32_t"],
    ['BlockDirtyBitmapAdd', { node: 'x', name: 'y', granularity: 2 ** 32 }, "Parameter 'granularity' expects uint32_t"],
    ['BlockJobSetSpeedArguments', [], "Invalid parameter type for '', expected: object"],
  ];
  for (const [type, value, message, code = 'invalid-argument'] of refused) {
    it(`says: ${message}`, () => {
      expect(failure(() => validate(type, value))).to.include({ code, message });
    });
  }

  const refusedText: [Record<string, unknown>, string][] = [
    [{ size: 'x' }, "Parameter 'size' expects a non-negative number below 2^64"],
    [{ size: '-1' }, "Parameter 'size' expects a non-negative number below 2^64"],
    [{ size: '9E' }, "Parameter 'size' is beyond 9007199254740991 (2^53 - 1)"],
    [{ 'latency-ns': '5k' }, "Parameter 'latency-ns' expects integer"],
    [{ 'read-only': 'On' }, "Parameter 'read-only' expects 'on' or 'off'"],
    [{ 'read-only': '1' }, "Parameter 'read-only' expects 'on' or 'off'"],
    [{ cache: 'on' }, "Invalid parameter type for 'cache', expected: object"],
  ];
  for (const [options, message] of refusedText) {
    it(`says of text: ${message} (${JSON.stringify(options)})`, () => {
      const error = failure(() => validate('BlockdevOptions', { driver: 'null-co', ...options }, { strings: true }));
      expect(error.code).to.equal('invalid-argument');
      expect(error.message.split('\n')[0]).to.equal(message);
    });
  }

  it('does not look at members of the prototype', () => {
    const options = Object.create({ filename: 'x' }) as Record<string, unknown>;
    options['driver'] = 'file';
    expect(failure(() => validate('BlockdevOptions', options)).message).to.equal("Parameter 'filename' is missing");
  });

  it('refuses a member called __proto__', () => {
    const options: unknown = JSON.parse('{"driver": "file", "filename": "a", "__proto__": {"x": 1}}');
    expect(failure(() => validate('BlockdevOptions', options)).code).to.equal('unknown-option');
  });

  it('ends with an error where a value is nested without bound', () => {
    const options: Record<string, unknown> = { driver: 'raw' };
    options['file'] = options;
    expect(failure(() => validate('BlockdevOptions', options)).message).to.contain('nested too deeply');
  });
});
