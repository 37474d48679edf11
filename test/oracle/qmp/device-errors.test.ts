// What becomes of a device's failed requests (rerror, werror), against a machine with an IDE disk: events, states, figures, and what the guest is told.
// Not compared is what a second request does while the machine is stopped: a guest of a stopped machine makes none, and a client of ours waits.

import { writeFileSync } from 'node:fs';
import { requirePeer } from '../../support/peers.js';
import { FIRST_SECTOR, type GuestRequest } from './guest/guest.js';
import { halt, IdeGuest, machine } from './guest/ide.js';
import { NbdGuest } from './guest/nbd.js';
import { command, comparing, guest, type Setup, type Step, until } from './runner.js';

const EIO = 5;
const ENOSPC = 28;
const KINDS: Record<GuestRequest, string> = { read: 'read', write: 'write', flush: 'flush', trim: 'discard' };

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, '1M');
  writeFileSync(`${folder}/halt`, halt());
};
const guests: Setup['guests'] = {
  program: machine('DIR/halt'),
  theirs: (daemon) => IdeGuest.start(daemon),
  ours: (daemon, folder) => NbdGuest.start(daemon, folder),
};

/**
 * A name lists options in the order of QEMU's hash table, and quotes what the command line gave. `qdev` names the machine's disk. How long requests
 * took is each program's own affair; that it is counted, is compared. An IDE disk counts a trim as failed before it asks what to do about it.
 */
const filter = (text: string): string =>
  text
    .replace(/"json:(\\.|[^"\\])*"/g, '"NAME"')
    .replace(/"qdev":"[^"]*",?/, '')
    .replace(/"(failed_)?unmap_(operations|bytes|total_time_ns)":\d+,?/g, '')
    .replace(/_ns":[1-9]\d*/g, '_ns":1');

/** The first request of this kind fails (a flush, where something was written): with `sector`, since a machine looks for a partition table at its start, and flushes where it stops. */
const fault = (request: GuestRequest, errno: number, i = 0): string => {
  const rule = `file.inject-error.${i}.`;
  const where = request === 'flush' ? '' : `,${rule}sector=${FIRST_SECTOR}`;
  return `${rule}event=none,${rule}iotype=${KINDS[request]},${rule}errno=${errno},${rule}once=on${where}`;
};
const drive = (options: string, ...faults: string[]): string[] => [
  '--drive',
  [
    'if=none,id=d0,node-name=n0,driver=raw,discard=unmap,file.driver=blkdebug',
    'file.image.driver=file,file.image.filename=DIR/a.raw',
    ...faults,
    ...(options === '' ? [] : [options]),
  ].join(','),
];

const STATE: Step[] = [command('query-block'), command('query-status'), command('query-blockstats')];
const failing = (...steps: Step[]): Step[] => [until('BLOCK_IO_ERROR'), ...steps, ...STATE];
const STOPS = failing(until('STOP'));
const GOES_ON: Step[] = [command('cont'), until('RESUME'), guest('answer'), ...STATE];
const reported = (request: GuestRequest): Step[] => [guest(request), ...failing(guest('answer'))];
const stopped = (request: GuestRequest): Step[] => [guest(request), ...STOPS, ...GOES_ON];
const fine = (request: GuestRequest): Step[] => [guest(request), guest('answer')];

describe('qmp against a machine with a disk: failed requests', () => {
  before(function () {
    for (const peer of ['qemu-system-x86_64', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, words: string[], ...script: Step[]): void => {
    it(title, comparing(script, { files, guests, words, filter }));
  };
  const all = (errno: number): string[] =>
    (['read', 'write', 'flush', 'trim'] as const).map((request, i) => fault(request, errno, i));

  same('none fails', drive(''), ...fine('read'), ...fine('write'), ...fine('flush'), ...fine('trim'), ...STATE);
  for (const [policy, errno] of [
    ['report', EIO],
    ['report', ENOSPC],
    ['ignore', EIO],
    ['ignore', ENOSPC],
  ] as const)
    same(
      `${policy}, errno ${errno}`,
      drive(`rerror=${policy},werror=${policy}`, ...all(errno)),
      ...(['read', 'write', 'flush', 'trim'] as const).flatMap(reported),
    );
  same(
    'the default, and EIO',
    drive('', ...all(EIO)),
    ...(['read', 'write', 'flush', 'trim'] as const).flatMap(reported),
  );
  same(
    'the default, and ENOSPC',
    drive('', fault('read', ENOSPC, 0), fault('write', ENOSPC, 1), fault('trim', ENOSPC, 2)),
    ...reported('read'),
    ...stopped('write'),
    ...stopped('trim'),
  );
  for (const errno of [EIO, ENOSPC]) {
    same(
      `stop, errno ${errno}`,
      drive('rerror=stop,werror=stop', fault('read', errno, 0), fault('write', errno, 1), fault('trim', errno, 2)),
      ...stopped('read'),
      ...stopped('write'),
      ...stopped('trim'),
    );
    same(
      `stop at a flush, errno ${errno}`,
      drive('werror=stop', fault('flush', errno)),
      ...fine('write'),
      ...stopped('flush'),
    );
  }
  same(
    'stop at one kind only',
    drive('rerror=stop,werror=report', fault('write', EIO, 0), fault('read', EIO, 1)),
    ...reported('write'),
    ...stopped('read'),
  );
  same(
    'stop at the other kind only',
    drive('rerror=report,werror=stop', fault('read', EIO, 0), fault('write', EIO, 1)),
    ...reported('read'),
    ...stopped('write'),
  );
  same(
    'no io-status where nothing stops',
    drive('rerror=ignore,werror=report', fault('read', EIO)),
    ...STATE,
    ...reported('read'),
  );
  same(
    'stop, and what is tried again fails again',
    drive('rerror=stop', fault('read', EIO).replace('once=on', 'once=off')),
    guest('read'),
    ...STOPS,
    command('cont'),
    until('RESUME'),
    ...STOPS,
    command('stop'),
    command('query-status'),
    command('cont'),
    until('RESUME'),
    ...STOPS,
  );
  same(
    'figures without what failed',
    drive('stats-account-failed=off,stats-account-invalid=off', ...all(EIO)),
    ...(['read', 'write', 'flush', 'trim'] as const).flatMap(reported),
  );
});
