// Histograms of a device's requests, against a machine whose IDE disk has the name of our device: every form of block-latency-histogram-set, right and
// wrong, and what query-blockstats shows of it before and after requests.

import { writeFileSync } from 'node:fs';
import { requirePeer } from '../../support/peers.js';
import type { Json } from '../../support/qmp.js';
import { halt, IdeGuest, machine } from './guest/ide.js';
import { NbdGuest } from './guest/nbd.js';
import { command, comparing, guest, type Setup, type Step } from './runner.js';

const files: Setup['files'] = (shop, folder) => {
  shop.must('qemu-img', 'create', '-q', '-f', 'raw', `${folder}/a.raw`, '1M');
  writeFileSync(`${folder}/halt`, halt());
};
const guests: Setup['guests'] = {
  program: machine('DIR/halt').map((word) => word.replace('ide-hd,', 'ide-hd,id=d0,')),
  theirs: (daemon) => IdeGuest.start(daemon),
  ours: (daemon, folder) => NbdGuest.start(daemon, folder),
};
/** How long requests took is each program's own affair; and a machine names its disk by a path. */
const filter = (text: string): string => text.replace(/"qdev":"[^"]*",?/, '').replace(/_ns":[1-9]\d*/g, '_ns":1');

const WORDS = [
  '--drive',
  'if=none,id=d0,node-name=n0,driver=raw,discard=unmap,file.driver=file,file.filename=DIR/a.raw',
];
const set = (words: Json): Step => command('block-latency-histogram-set', words);
const d0 = (words: Json): Step => set({ id: 'd0', ...words });
const FIGURES = command('query-blockstats');
const done = (request: 'read' | 'write' | 'flush'): Step[] => [guest(request), guest('answer')];
/** Every request is quicker, or slower, than these. */
const SLOW = 1e15;
const QUICK = 1;

describe('qmp against a machine with a disk: histograms', () => {
  before(function () {
    for (const peer of ['qemu-system-x86_64', 'qemu-img']) requirePeer(this, peer);
  });

  const same = (title: string, ...script: Step[]): void => {
    it(title, comparing(script, { files, guests, words: WORDS, filter }));
  };
  const KINDS = ['boundaries', 'boundaries-read', 'boundaries-write', 'boundaries-flush'];

  same(
    'what is set, counted, set anew and taken away',
    FIGURES,
    d0({ boundaries: [QUICK, SLOW] }),
    FIGURES,
    ...done('read'),
    ...done('write'),
    ...done('flush'),
    FIGURES,
    d0({ 'boundaries-read': [SLOW] }),
    FIGURES,
    d0({ 'boundaries-write': [QUICK], 'boundaries-flush': [QUICK, 2, SLOW] }),
    ...done('write'),
    ...done('write'),
    ...done('read'),
    FIGURES,
    d0({ boundaries: [QUICK], 'boundaries-flush': [SLOW] }),
    ...done('flush'),
    FIGURES,
    // The reference ends at the next request.
    d0({ boundaries: [] }),
    FIGURES,
    d0({}),
    FIGURES,
    d0({}),
    ...done('read'),
    FIGURES,
  );

  same(
    'what is wrong',
    set({}),
    set({ boundaries: [1] }),
    set({ id: 'nobody', boundaries: [1] }),
    set({ id: 'n0', boundaries: [1] }),
    set({ id: 1, boundaries: [1] }),
    d0({ nonsense: [1] }),
    d0({ boundaries: [5, 10] }),
    ...KINDS.flatMap((kind) => [
      ...[[0], [0, 1], [2, 1], [1, 1], [1, 2, 2], ['x'], [null], [1.5], 5, 'x', null, {}].map((value) =>
        d0({ [kind]: value }),
      ),
      FIGURES,
    ]),
    d0({ 'boundaries-read': [7], 'boundaries-write': [2, 1], 'boundaries-flush': [9] }),
    FIGURES,
    d0({ boundaries: [3], 'boundaries-flush': [0] }),
    FIGURES,
  );
});
