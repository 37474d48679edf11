import { expect } from 'chai';
import { EventHub, type QmpEvent } from '../../src/qmp/events.js';
import { FakeClock } from '../support/fake-clock.js';

describe('events of monitors', () => {
  const bad = (node: string, sector: number) =>
    ({ type: 'read', 'node-name': node, 'sector-num': sector, 'sectors-count': 1 }) as const;

  function watched() {
    const clock = new FakeClock();
    const hub = new EventHub(clock);
    const seen: string[] = [];
    hub.on(({ event, data }: QmpEvent) => {
      const { 'node-name': node = '', 'sector-num': sector = '' } = (data ?? {}) as Record<string, unknown>;
      seen.push([event, node, sector].filter((word) => word !== '').join(' '));
    });
    return { clock, hub, seen };
  }

  it('that may come with each request are sent once a second: the first, and then the last of each second', async () => {
    const { clock, hub, seen } = watched();
    for (const sector of [1, 2, 3]) hub.emit('QUORUM_REPORT_BAD', bad('a', sector));
    expect(seen).to.deep.equal(['QUORUM_REPORT_BAD a 1']);
    await clock.advance(999);
    expect(seen).to.have.length(1);
    await clock.advance(1);
    expect(seen).to.deep.equal(['QUORUM_REPORT_BAD a 1', 'QUORUM_REPORT_BAD a 3']);
    hub.emit('QUORUM_REPORT_BAD', bad('a', 4));
    await clock.advance(1000);
    expect(seen[2]).to.equal('QUORUM_REPORT_BAD a 4');
    await clock.advance(1000);
    expect(clock.pending).to.equal(0);
    hub.emit('QUORUM_REPORT_BAD', bad('a', 5));
    expect(seen[3]).to.equal('QUORUM_REPORT_BAD a 5');
    hub.close();
  });

  it('of two nodes are limited each on its own, and others are not', () => {
    const { clock, hub, seen } = watched();
    hub.emit('QUORUM_REPORT_BAD', bad('a', 1));
    hub.emit('QUORUM_REPORT_BAD', bad('b', 1));
    for (const id of ['x', 'y']) hub.emit('BLOCK_EXPORT_DELETED', { id });
    expect(seen).to.deep.equal([
      'QUORUM_REPORT_BAD a 1',
      'QUORUM_REPORT_BAD b 1',
      'BLOCK_EXPORT_DELETED',
      'BLOCK_EXPORT_DELETED',
    ]);
    hub.close();
    expect(clock.pending).to.equal(0);
  });

  it('that are held back are sent at the end', () => {
    const { clock, hub, seen } = watched();
    for (const sector of [1, 2]) hub.emit('QUORUM_REPORT_BAD', bad('a', sector));
    hub.close();
    expect(seen).to.deep.equal(['QUORUM_REPORT_BAD a 1', 'QUORUM_REPORT_BAD a 2']);
    expect(clock.pending).to.equal(0);
  });
});
