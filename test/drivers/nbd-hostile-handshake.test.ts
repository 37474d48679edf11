// The NBD client against a server that breaks the rules of the handshake: each answer is refused by name, and nothing hangs.

import { expect } from 'chai';
import type { BlockErrorCode } from '../../src/util/errors.js';
import { Option, OptionReply } from '../../src/wire/nbd/constants.js';
import { FakeClock, settle } from '../support/fake-clock.js';
import type { FakePeer } from '../support/fake-nbd.js';
import { u16, u32 } from '../support/wire-fields.js';
import { NbdLab } from './nbd-support.js';
import { failureOf } from './support.js';

const SIZE = 1 << 20;

describe('nbd: a hostile handshake', () => {
  let lab: NbdLab;
  beforeEach(() => {
    lab = new NbdLab();
  });
  afterEach(() => lab.close());

  const infoExport = (size: Buffer) => Buffer.concat([u16(0), size, u16(1)]);
  /** Answers the options before GO that they are not known. */
  async function untilGo(peer: FakePeer): Promise<void> {
    await peer.greet();
    for (;;) {
      const { option } = await peer.option();
      if (option === Option.go) return;
      peer.reply(option, OptionReply.errUnsupported);
    }
  }

  const cases: [string, (peer: FakePeer) => Promise<void>, BlockErrorCode, RegExp][] = [
    ['no NBD at all', async (peer) => peer.write(Buffer.from('SSH-2.0-OpenSSH_9.2\r\n')), 'io', /not an NBD server/],
    ['the end at once', async () => {}, 'io', /closed the connection in the handshake/],
    ['half a greeting', async (peer) => peer.write(Buffer.from('NBDMAGICIHAV')), 'io', /closed the connection/],
    [
      'the old protocol',
      async (peer) => {
        peer.write(Buffer.from('NBDMAGIC'), Buffer.from('0000420281861253', 'hex'), Buffer.alloc(136));
        await peer.gone();
      },
      'unsupported',
      /old protocol/,
    ],
    [
      'another second magic number',
      async (peer) => {
        peer.write(Buffer.from('NBDMAGICNBDMAGIC'), u16(3));
        await peer.gone();
      },
      'io',
      /not an NBD server/,
    ],
    [
      'nonsense for a reply',
      async (peer) => {
        await peer.greet();
        await peer.option();
        peer.write(Buffer.alloc(64, 0xff));
        await peer.gone();
      },
      'io',
      /invalid reply in the handshake/,
    ],
    [
      'a reply to another option',
      async (peer) => {
        await peer.greet();
        await peer.option();
        peer.reply(99, OptionReply.ack);
        await peer.gone();
      },
      'io',
      /option 99, which was not sent/,
    ],
    [
      'a reply of 4 GiB',
      async (peer) => {
        await untilGo(peer);
        peer.write(Buffer.from('0003e889045565a9', 'hex'), Option.go, OptionReply.info, 0xffffffff);
        await peer.gone();
      },
      'io',
      /4294967295 bytes in one reply/,
    ],
    [
      'replies without end',
      async (peer) => {
        await untilGo(peer);
        for (let i = 0; i < 1000; i++) peer.reply(Option.go, OptionReply.info, Buffer.concat([u16(1), u16(65)]));
        await peer.gone();
      },
      'io',
      /does not end its answer/,
    ],
    [
      'an acknowledgement without a size',
      async (peer) => {
        await untilGo(peer);
        peer.reply(Option.go, OptionReply.ack);
        await peer.gone();
      },
      'io',
      /does not send the size/,
    ],
    [
      'an export of 2^63 bytes',
      async (peer) => {
        await untilGo(peer);
        peer.reply(Option.go, OptionReply.info, infoExport(Buffer.from('8000000000000000', 'hex')));
        await peer.gone();
      },
      'limit',
      /larger than 9007199254740991 bytes \(2\^53 - 1\)/,
    ],
    [
      'an export of 2^53 - 1 bytes, which are no whole sectors',
      async (peer) => {
        await peer.negotiate({ size: 2 ** 53 - 1, blocks: { min: 1, preferred: 4096, max: 65536 } });
        await peer.gone();
      },
      'limit',
      /Image sizes beyond 9007199254740991 bytes/,
    ],
    [
      'an export described in half',
      async (peer) => {
        await untilGo(peer);
        peer.reply(Option.go, OptionReply.info, infoExport(u32(5)));
        await peer.gone();
      },
      'io',
      /malformed description of the export/,
    ],
    [
      'the export that is not there, with words for a terminal',
      async (peer) => {
        await untilGo(peer);
        peer.reply(Option.go, OptionReply.errUnknown, Buffer.from('no\u001b[2J such \u0007thing'));
        await peer.gone();
      },
      'not-found',
      /^Requested export not available\nserver reported: no \[2J such {2}thing$/,
    ],
    [
      'a refusal',
      async (peer) => {
        await untilGo(peer);
        peer.reply(Option.go, OptionReply.errPolicy);
        await peer.gone();
      },
      'permission',
      /Denied by server for option 7 \(go\)/,
    ],
    [
      'TLS only',
      async (peer) => {
        await peer.greet();
        peer.reply((await peer.option()).option, OptionReply.errTlsRequired);
        await peer.gone();
      },
      'permission',
      /TLS negotiation required before option 11 .*\nDid you forget a valid tls-creds/,
    ],
    ...(
      [
        [0, 512, 4096],
        [3, 512, 4096],
        [131072, 131072, 131072],
        [512, 256, 4096],
        [512, 512, 256],
        [512, 512, 700],
      ] as const
    ).map(([min, preferred, max]): (typeof cases)[number] => [
      `blocks of ${min}, ${preferred}, ${max} bytes`,
      async (peer) => {
        await peer.negotiate({ size: SIZE, blocks: { min, preferred, max } });
        await peer.gone();
      },
      'io',
      /invalid \w+ block size of \d+ bytes/,
    ]),
    [
      'another metadata context',
      async (peer) => {
        await peer.greet();
        for (;;) {
          const { option } = await peer.option();
          if (option === Option.extendedHeaders) peer.reply(option, OptionReply.errUnsupported);
          if (option === Option.structuredReply) peer.reply(option, OptionReply.ack);
          if (option === Option.setMetaContext) {
            peer.reply(option, OptionReply.metaContext, Buffer.concat([u32(1), Buffer.from('x:y')]));
          }
        }
      },
      'io',
      /metadata context that was not asked for/,
    ],
    [
      'an export that is no whole number of its blocks',
      async (peer) => {
        await peer.negotiate({ size: 1000, blocks: { min: 512, preferred: 4096, max: 65536 } });
        await peer.gone();
      },
      'unsupported',
      /not a multiple of its minimum block size/,
    ],
  ];
  for (const [what, script, code, message] of cases) {
    it(`${what}: ${code}`, async () => {
      const fake = await lab.fake(script);
      const error = await failureOf(lab.openNbd(fake.path, {}, { readOnly: true }));
      expect(error.message).to.match(message);
      expect(error.code).to.equal(code);
      expect(lab.graph.nodes.size).to.equal(0);
      expect(fake.failures).to.deep.equal([]);
    });
  }

  it('silence is given up after half a minute', async () => {
    const clock = new FakeClock();
    const slow = new NbdLab(clock);
    try {
      const fake = await slow.fake((peer) => peer.gone());
      const opening = failureOf(slow.openNbd(fake.path));
      while (clock.pending === 0) await settle();
      await clock.advance(30_000);
      expect((await opening).code).to.equal('cancelled');
    } finally {
      await slow.close();
    }
  });
});
