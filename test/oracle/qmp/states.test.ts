// Each verb in each state of each kind of job, against qemu-storage-daemon: states/table.ts says where it leads, states/script.ts how a job gets
// there. One daemon takes all scripts of a kind.

import { requirePeer } from '../../support/peers.js';
import { comparing } from './runner.js';
import { filesFor, scriptOf } from './states/script.js';
import { type JobKind, STATES_OF, VERBS } from './states/table.js';

/** What the reference counts of a commit is what has data. A mirror that waits for its end holds the reference's guests; ours is paused for nobody. */
const filter = (text: string): string =>
  text
    .replace(/"paused":(true|false)(?=[^}]*"status":"pending","type":"(?:mirror|commit)")/, '')
    .replace(/"(len|total-progress)":\d+,?/g, '');

describe('qmp against qemu-storage-daemon: verbs in each state', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-img', 'qemu-io', 'qemu-system-x86_64']) requirePeer(this, peer);
  });

  for (const kind of Object.keys(STATES_OF) as JobKind[]) {
    const pairs = STATES_OF[kind].flatMap((state) => VERBS.map((verb) => ({ state, verb })));
    const script = pairs.flatMap(({ state, verb }, i) => scriptOf(kind, state, verb, i));
    const machine = kind.startsWith('drive-');
    const compare = comparing(script, {
      files: filesFor(pairs.length),
      filter,
      machine,
    });
    it(`${kind}: ${STATES_OF[kind].join(', ')}`, compare).timeout(60_000);
  }
});
