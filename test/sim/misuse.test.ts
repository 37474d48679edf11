// Wrong arguments to the simulated host: each is refused by name. A fault that is misspelt would never come, and its test would pass.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import { BlockError } from '../../src/util/errors.js';

// biome-ignore lint/suspicious/noExplicitAny: what is tested is what TypeScript forbids.
type Wrong = any;

const bad = 'invalid-argument';
const unknown = 'unknown-option';

// biome-ignore format: a table.
const OPTIONS: readonly (readonly [options: unknown, code: string, words: RegExp])[] = [
  [{ sed: 1 }, unknown, /^Parameter 'settings.sed' is unexpected \(did you mean 'seed'\?\)$/],
  [{ seed: '1' }, bad, /'settings.seed', expected: integer, not string/],
  [{ eager: 1 }, bad, /'settings.eager', expected: boolean/],
  [{ capacity: -1 }, bad, /'settings.capacity' expects/],
  [{ directAlignment: 1000 }, bad, /'settings.directAlignment' expects a power of two, not 1000/],
  [{ unsupported: ['punchhole'] }, bad, /'settings.unsupported\[0\]' does not accept value 'punchhole' \(did you mean 'punchHole'\?\)/],
  [{ onRequest: true }, bad, /'settings.onRequest', expected: function/],
  [{ faults: { powerLoss: 3 } }, unknown, /'settings.faults.powerLoss' is unexpected \(did you mean 'powerLossAt'\?\)/],
  [{ faults: { powerLossAt: 0 } }, bad, /'settings.faults.powerLossAt' expects a whole number from 1/],
  [{ faults: { lateProbability: 2 } }, bad, /'settings.faults.lateProbability' expects a number from 0 to 1, not 2/],
  [{ faults: { rules: { operations: ['write'] } } }, bad, /'settings.faults.rules', expected: array/],
  [{ faults: { rules: [{ operation: 'write' }] } }, unknown, /'settings.faults.rules\[0\].operation' is unexpected \(did you mean 'operations'\?\)/],
  [{ faults: { rules: [{ operations: ['wirte'] }] } }, bad, /'settings.faults.rules\[0\].operations\[0\]' does not accept value 'wirte' \(did you mean 'write'\?\)/],
  [{ faults: { rules: [{ errno: 'ENOSPACE' }] } }, bad, /rules\[0\].errno' does not accept value 'ENOSPACE' \(did you mean 'ENOSPC'\?\)/],
  [{ faults: { rules: [{ times: 1.5 }] } }, bad, /rules\[0\].times' expects a whole number/],
  [7, bad, /'settings', expected: object/],
];

// biome-ignore format: a table.
const CALLS: readonly (readonly [title: string, code: string, words: RegExp, call: (host: SimHost & Wrong) => unknown])[] = [
  ['setFaults with an unknown member', unknown, /'plan.rule' is unexpected.*'rules'/, (host) => host.setFaults({ rule: [] })],
  ['setFaults with a wrong operation', bad, /'plan.rules\[0\].operations\[0\]'.*'flush'/, (host) => host.setFaults({ rules: [{ operations: ['flsh'] }] })],
  ['setCapacity with text', bad, /'bytes', expected: integer/, (host) => host.setCapacity('1M')],
  ['advance backwards', bad, /'ms' expects a number of at least 0/, (host) => host.advance(-1)],
  ['crash with an unknown option', unknown, /'settings.earger'.*'eager'/, (host) => host.crash({ earger: true })],
  ['crash with half a style', bad, /'style.tear' is missing/, (host) => host.crash({}, { keep: 1 })],
  ['fork with a wrong seed', bad, /'settings.seed'/, (host) => host.fork({ seed: 0.5 })],
  ['writeFile with text', bad, /'content', expected: Uint8Array, not string/, (host) => host.writeFile('/a', 'text')],
  ['patchFile with a negative offset', bad, /'offset' expects/, (host) => host.patchFile('/a', -1, new Uint8Array(1))],
  ['resizeFile without a size', bad, /'size', expected: integer/, (host) => host.resizeFile('/a')],
  ['createDevice without a name', bad, /'path', expected: string/, (host) => host.createDevice(undefined, 512)],
  ['symlink to a number', bad, /'target', expected: string/, (host) => host.symlink('/l', 7)],
  ['readFile with a negative length', bad, /'length' expects/, (host) => host.readFile('/a', 0, -1)],
  ['durableFile without a name', bad, /'path', expected: string/, (host) => host.durableFile()],
  ['fileSize without a name', bad, /'path', expected: string/, (host) => host.fileSize()],
  ['exists without a name', bad, /'path', expected: string/, (host) => host.exists()],
  ['count of an unknown operation', bad, /'operation' does not accept value 'writes'.*'write'/, (host) => host.count('writes')],
];

describe('misuse of the simulated host', () => {
  for (const [options, code, words] of OPTIONS) {
    it(`createSimHost refuses ${JSON.stringify(options)}`, async () => {
      await refuses(() => createSimHost(options as Wrong), code, words);
    });
  }

  for (const [title, code, words, call] of CALLS) {
    it(`is refused: ${title}`, async () => {
      const host = createSimHost({ eager: true });
      await refuses(() => call(host), code, words);
      // It has power still, and no file.
      expect(host.files()).to.deep.equal([]);
      await host.freeSpace('/');
    });
  }

  it('rules that are the same objects go on counting in another plan', async () => {
    const rule = { operations: ['stat'], times: 1 } as const;
    const host = createSimHost({ eager: true, faults: { rules: [rule] } });
    for (const fails of [true, false]) {
      const outcome = await host.freeSpace('/').then(
        () => false,
        () => true,
      );
      expect(outcome).to.equal(fails);
      host.setFaults({ rules: [rule] });
    }
  });
});

async function refuses(call: () => unknown, code: string, words: RegExp): Promise<void> {
  let thrown: unknown;
  try {
    await call();
  } catch (error) {
    thrown = error;
  }
  expect(thrown).to.be.instanceOf(BlockError);
  expect((thrown as BlockError).message).to.match(words);
  expect((thrown as BlockError).code).to.equal(code);
}
