import { expect } from 'chai';
import { quoteJson } from '../../src/util/json-quote.js';

describe('JSON text as QEMU writes it', () => {
  it('has capital digits in its escapes, and leaves alone what only looks like one', () => {
    expect(quoteJson('é\u0001')).to.equal('"\\u00E9\\u0001"');
    expect(quoteJson('\\u00e9 \\\\u00e9')).to.equal('"\\\\u00e9 \\\\\\\\u00e9"');
    for (const text of ['\\u00e9', '\\\u00e9', 'a\\', '"\\"', '\u{1f600}\u007f'])
      expect(JSON.parse(quoteJson(text))).to.equal(text);
  });
});
