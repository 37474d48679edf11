// Errors of the first names: their classes, and what they are about.

import { expect } from 'chai';
import { firstErrorOf } from '../../src/qmp/first-error.js';
import { BlockError } from '../../src/util/errors.js';

const ARGS = { device: 'd0', base: 'b' };

describe('an error of the first names', () => {
  const classes: [ConstructorParameters<typeof BlockError>[0], string, object][] = [
    ['device-not-found', 'DeviceNotFound', { device: 'd0' }],
    ['not-active', 'DeviceNotActive', { device: 'd0' }],
    ['busy', 'DeviceInUse', { device: 'd0' }],
    ['exists', 'DeviceInUse', { device: 'd0' }],
    ['unsupported', 'NotSupported', {}],
    ['not-found', 'BaseNotFound', { base: 'b' }],
    ['invalid-argument', 'GenericError', {}],
  ];
  for (const [code, name, data] of classes) {
    it(`with the code ${code} is ${name}`, () => {
      const error = firstErrorOf(new BlockError(code, 'text'), ARGS);
      expect(error).to.deep.equal({ class: name, desc: 'text', data });
    });
  }
});
