// How the addon is loaded.

import { expect } from 'chai';
import { INTERFACE_VERSION, loadNative, refuseOther } from '../../src/host/real/binding.js';
import { BlockError } from '../../src/util/errors.js';

describe('the addon', () => {
  it('is refused where it was built for another version, with what to do', () => {
    refuseOther(loadNative(), '/a/clone');
    for (const interfaceVersion of [undefined, INTERFACE_VERSION - 1, INTERFACE_VERSION + 1]) {
      expect(() => refuseOther({ interfaceVersion: interfaceVersion as number }, '/a/clone'))
        .to.throw(
          BlockError,
          /built for another version of Diskwright; build it with "npm run --prefix \/a\/clone build:native"/,
        )
        .with.property('code', 'unsupported');
    }
  });
});
