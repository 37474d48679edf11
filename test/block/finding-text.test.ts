// The words for findings of a check. Those of a damaged image are compared with qemu-img's in test/interop/info-map-check.test.ts.

import { expect } from 'chai';
import { exact } from '../../src/block/finding.js';
import { findingText } from '../../src/block/finding-text.js';
import { allDrivers } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';

describe('the words for a finding', () => {
  before(registerDrivers);

  it('write an offset that no number holds with all its digits', () => {
    const hostOffset = exact('0x3000000000000001');
    const text = findingText({ kind: 'compressed-copied-flag', severity: 'corruption', table: 'l2', hostOffset });
    expect(text).to.include('coffset=0x3000000000000001:');
  });

  it('write a refcount in decimal digits, however large', () => {
    const refcount = exact('0xffffffffffffffff');
    const text = findingText({ kind: 'leaked-cluster', severity: 'leak', cluster: 7, refcount, references: 1 });
    expect(text).to.equal('Leaked cluster 7 refcount=18446744073709551615 reference=1');
  });

  it('tell a kind that only its format knows by its fields', () => {
    const text = findingText({ kind: 'block-listed-twice', severity: 'corruption', table: 'blocks', index: 3 });
    expect(text).to.equal('ERROR block-listed-twice table=blocks index=3');
  });

  it('say that a finding is repaired, whatever they begin with', () => {
    const refcounts = { refcount: 1, references: 0 };
    for (const [finding, text] of [
      [{ kind: 'leaked-cluster', severity: 'leak', cluster: 7, ...refcounts }, 'cluster 7 refcount=1 reference=0'],
      [{ kind: 'vhdx-overlap', severity: 'corruption', index: 2 }, null],
      [{ kind: 'vhdx-state', severity: 'corruption', index: 2, entry: 9 }, null],
    ] as const) {
      const repaired = findingText({ ...finding, repairs: true } as never);
      expect(repaired).to.equal(text === null ? `Repairing: ${findingText(finding as never)}` : `Repairing ${text}`);
    }
  });

  it('are of one format for each kind, so that no other one speaks for it', () => {
    const kinds = [...allDrivers()].flatMap(({ findingWords = {} }) => Object.keys(findingWords));
    expect(kinds).to.include('leaked-cluster');
    expect(new Set(kinds).size).to.equal(kinds.length);
  });

  it('have numbers where a number is exact', () => {
    expect(exact('0x10000')).to.equal(65536);
    expect(exact('0x20000000000001')).to.equal('0x20000000000001');
  });
});
