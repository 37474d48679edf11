// How long requests took: bins, and figures of the last seconds.

import { expect } from 'chai';
import { IntervalFigures, LatencyHistogram } from '../../src/block/latency.js';

describe('latency histogram', () => {
  it('has a bin from each boundary to the next', () => {
    const histogram = new LatencyHistogram([1e6, 2e6, 5e6]);
    for (const ms of [0, 0.999, 1, 1.5, 2, 4.999, 5, 1000]) histogram.add(ms);
    expect(histogram.info).to.deep.equal({ boundaries: [1e6, 2e6, 5e6], bins: [2, 2, 2, 2] });
  });

  it('without boundaries has one bin', () => {
    const histogram = new LatencyHistogram([]);
    histogram.add(1);
    expect(histogram.info).to.deep.equal({ boundaries: [], bins: [1] });
  });

  for (const boundaries of [[0], [5, 5], [5, 4]]) {
    it(`takes no boundaries ${boundaries.join(', ')}`, () => {
      expect(() => new LatencyHistogram(boundaries)).to.throw('ascend');
    });
  }
});

describe('figures of an interval', () => {
  it('are of what ended in it', () => {
    const figures = new IntervalFigures(10, 0);
    figures.add(1000, 2);
    figures.add(2000, 4);
    expect(figures.figures(4000)).to.deep.equal({ min: 2e6, max: 4e6, avg: 3e6, depth: 6 / 4000 });
  });

  it('forget what is older than the interval, and keep what is younger than half of it', () => {
    const figures = new IntervalFigures(10, 0);
    figures.add(1000, 2);
    figures.add(6000, 8);
    expect(figures.figures(10_000)).to.deep.include({ min: 8e6, max: 8e6 });
    expect(figures.figures(14_999)).to.deep.include({ min: 8e6, max: 8e6 });
    expect(figures.figures(60_000)).to.deep.equal({ min: 0, max: 0, avg: 0, depth: 0 });
  });
});
