// Commands out of band, as both programs answer them. qemu-storage-daemon has none that may be sent so; a machine has.

import { requirePeer } from '../../support/peers.js';
import { expectSameLines, type RawSetup } from './raw.js';
import { command, comparing, type Step } from './runner.js';

const NEGOTIATED = '{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}';
const add = (id: string, type: string, data: object = {}): Step =>
  command('chardev-add', { id, backend: { type, data } });
const unix = (path: string): object => ({ type: 'unix', data: { path } });
const yank = (...instances: object[]): Step => command('yank', { instances });
const chardev = (id: string): object => ({ type: 'chardev', id });

describe('qmp against QEMU: out of band', () => {
  before(function () {
    for (const peer of ['qemu-storage-daemon', 'qemu-system-x86_64']) requirePeer(this, peer);
  });

  for (const machine of [false, true]) {
    const setup: RawSetup = { machine };
    describe(machine ? 'a machine' : 'qemu-storage-daemon', () => {
      it('negotiates the capability once, and knows no other', () =>
        expectSameLines(
          [
            '{"execute":"qmp_capabilities","arguments":{"enable":["frob"]}}',
            '{"execute":"qmp_capabilities","arguments":{"enable":"oob"}}',
            '{"exec-oob":"qmp_capabilities"}',
            '{"execute":"qmp_capabilities","arguments":{"enable":["oob","oob"]}}',
            NEGOTIATED,
          ],
          setup,
        ));

      it('has no exec-oob without it', () =>
        expectSameLines(
          [
            '{"exec-oob":"query-jobs","id":1}',
            '{"execute":"qmp_capabilities"}',
            '{"exec-oob":"query-jobs","id":2}',
            '{"exec-oob":"frob","id":3}',
            '{"exec-oob":1}',
          ],
          setup,
        ));

      it('refuses what is no command for it, with the id', () =>
        expectSameLines(
          [
            `${NEGOTIATED}{"exec-oob":"query-jobs","id":1}`,
            ...['"frob"', '1', '"qmp_capabilities"', 'null'].map((name) => `{"exec-oob":${name},"id":[${name}]}`),
            '{"exec-oob":"query-jobs","arguments":[]}',
            '{"exec-oob":"query-jobs","arguments":{"x":1}}',
            '{"exec-oob":"query-jobs","frob":1}',
          ],
          setup,
        ));

      it('takes one that comes together with the negotiation', () =>
        expectSameLines([`${NEGOTIATED}{"exec-oob":"query-block","id":1}`], setup));
    });
  }

  it(
    'a machine lists what can be cut off, and cuts it',
    comparing(
      [
        command('query-yank'),
        yank(),
        yank(chardev('nobody')),
        yank({ type: 'block-node', 'node-name': 'nobody' }),
        yank({ type: 'frob' }),
        yank({ type: 'chardev' }),
        command('yank'),
        add('s', 'socket', { addr: unix('DIR/s'), wait: false }),
        add('c', 'socket', { addr: unix('DIR/s'), server: false }),
        add('n', 'null'),
        command('blockdev-add', { driver: 'null-co', 'node-name': 'null' }),
        command('query-yank'),
        yank(chardev('c'), chardev('n')),
        yank(chardev('c')),
        yank(chardev('c'), chardev('s')),
        yank({ type: 'block-node', 'node-name': 'null' }),
      ],
      { machine: true },
    ),
  );
});
