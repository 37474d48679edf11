// Rules of blkdebug below raw, on a simulated disk: what each answer is was seen of qemu-io.

import { expect } from 'chai';
import type { Breakpoints } from '../../../src/block/debug-events.js';
import type { BlockNode } from '../../../src/block/node/node.js';
import { parseConfig } from '../../../src/drivers/filters/blkdebug/config.js';
import { toBlockError } from '../../../src/util/errors.js';
import { stateOf } from '../../block/support.js';
import { opened } from '../../schema/effects/kit.js';
import { type Bench, failureOf, makeBench, pattern } from '../support.js';

const SIZE = 1 << 20;

interface Debugged {
  bench: Bench;
  raw: BlockNode;
  debug: BlockNode;
}

async function debugged(own: object, host: Parameters<typeof makeBench>[0] = {}): Promise<Debugged> {
  const bench = makeBench(host);
  bench.host.writeFile('/a', pattern(SIZE));
  const image = { driver: 'file', filename: '/a', discard: 'unmap' };
  const file = { driver: 'blkdebug', 'node-name': 'debug', discard: 'unmap', image, ...own };
  const raw = await opened(bench, { driver: 'raw', discard: 'unmap', file });
  return { bench, raw, debug: bench.graph.find('debug') };
}

/** `r 0 512`: reads 512 bytes at 0. Each step's answer: `ok`, or the error's name. */
async function answers(own: object, ...steps: string[]): Promise<string[]> {
  const { raw } = await debugged(own);
  const said: string[] = [];
  for (const step of steps) {
    const [what, ...numbers] = step.split(' ');
    const [offset, length] = numbers.map(Number);
    const run: Record<string, () => Promise<unknown>> = {
      r: () => raw.read(offset, new Uint8Array(length)),
      w: () => raw.write(offset, new Uint8Array(length).fill(1)),
      z: () => raw.writeZeroes(offset, length),
      d: () => raw.discard(offset, length),
      f: () => raw.flush(),
      s: () => raw.blockStatus(offset, length),
    };
    said.push(
      await run[what]().then(
        () => 'ok',
        (error) => toBlockError(error).errno ?? 'other',
      ),
    );
  }
  return said;
}

const inject = (event: string, more: object = {}) => ({ 'inject-error': [{ event, ...more }] });
const READ = 'r 0 512';
const WRITE = 'w 0 512';

describe('blkdebug', () => {
  const cases: [string, object, string[], string[]][] = [
    [
      'a rule stays in effect, for all requests but block status',
      inject('read_aio'),
      [READ, WRITE, READ, 'd 0 4096', 'z 0 4096', 's 0 512'],
      ['EIO', 'EIO', 'EIO', 'EIO', 'EIO', 'ok'],
    ],
    ['with once, one request fails', inject('read_aio', { once: true }), [READ, READ], ['EIO', 'ok']],
    [
      'of one kind of requests only',
      inject('read_aio', { iotype: 'write' }),
      [READ, WRITE, 's 0 512'],
      ['ok', 'EIO', 'ok'],
    ],
    [
      'of those that touch a sector',
      inject('write_aio', { sector: 3 }),
      ['r 1536 512', WRITE, 'w 1024 1024', 'r 1536 1', READ],
      ['ok', 'ok', 'EIO', 'EIO', 'ok'],
    ],
    ['from the start', inject('none', { errno: 28 }), [READ, WRITE, 'd 0 4096'], ['ENOSPC', 'ENOSPC', 'ENOSPC']],
    ['block status', inject('none', { iotype: 'block-status' }), [READ, 's 0 512'], ['ok', 'EIO']],
    ['flushes', inject('none', { iotype: 'flush' }), [READ, 'f'], ['ok', 'EIO']],
    ['errno 0 is no error', inject('none', { errno: 0 }), [READ], ['ok']],
    ['in the wrong state', inject('none', { state: 2 }), [READ], ['ok']],
    [
      'a state that changes by the same event is there from the next one on',
      { ...inject('read_aio', { state: 2 }), 'set-state': [{ event: 'read_aio', new_state: 2 }] },
      [READ, READ, READ],
      ['ok', 'EIO', 'EIO'],
    ],
    [
      'two changes of state',
      {
        ...inject('read_aio', { state: 2, once: true }),
        'set-state': [
          { event: 'read_aio', state: 1, new_state: 2 },
          { event: 'read_aio', state: 2, new_state: 3 },
        ],
      },
      [READ, READ, READ, READ],
      ['ok', 'EIO', 'ok', 'ok'],
    ],
    ['a flush of what nobody wrote', inject('flush_to_disk'), [READ, 'f', 'f', READ], ['ok', 'ok', 'ok', 'ok']],
    ['a flush of what was written', inject('flush_to_disk'), [WRITE, 'f', READ], ['ok', 'EIO', 'EIO']],
    ['a flush of a driver', inject('flush_to_os'), [READ, 'f', READ], ['ok', 'EIO', 'EIO']],
    ['a write of data', inject('pwritev'), [READ, WRITE, READ], ['ok', 'EIO', 'EIO']],
    ['the end of a write', inject('pwritev_done'), [READ, WRITE, READ], ['ok', 'ok', 'EIO']],
    ['a write of zeroes', inject('pwritev_zero'), [READ, 'z 0 512', READ], ['ok', 'EIO', 'EIO']],
    [
      'the first block of a write that is not aligned',
      { ...inject('pwritev_rmw_head'), align: 4096 },
      ['w 512 512', READ],
      ['EIO', 'EIO'],
    ],
    ['the last one', { ...inject('pwritev_rmw_tail'), align: 4096 }, [WRITE, READ], ['EIO', 'EIO']],
  ];
  for (const [title, own, steps, expected] of cases) {
    it(`fails requests: ${title}`, async () => {
      expect(await answers(own, ...steps)).to.deep.equal(expected);
    });
  }

  it('holds up whoever comes to a breakpoint, once, until it is resumed', async () => {
    const { raw, debug } = await debugged({});
    const points: Breakpoints = debug.abilities.breakpoints!;
    points.breakAt('read_aio', 'A');
    const first = raw.read(0, new Uint8Array(512));
    await points.untilHeldUp('A');
    await raw.read(512, new Uint8Array(512));
    expect(await stateOf(first)).to.equal('pending');
    points.resume('A');
    await first;
    expect(() => points.resume('A')).to.throw("No request is held up by 'A'");
    expect(() => points.removeBreak('A')).to.throw("There is no breakpoint 'A'");
  });

  it('lets all go on whose breakpoint is taken away, and at a close', async () => {
    const { bench, raw, debug } = await debugged({});
    const points = debug.abilities.breakpoints!;
    for (const event of ['read_aio', 'write_aio'] as const) points.breakAt(event, 'A');
    points.breakAt('flush_to_os', 'B');
    const held = [raw.read(0, new Uint8Array(512)), raw.write(0, new Uint8Array(512))];
    await points.untilHeldUp('A');
    points.removeBreak('A');
    await Promise.all(held);
    const flush = raw.flush();
    await points.untilHeldUp('B');
    await bench.graph.closeAll();
    await flush;
  });

  it('cuts requests down to its limits', async () => {
    const seen: string[] = [];
    const limits = { align: 512, 'max-transfer': 8192, 'opt-write-zero': 4096, 'max-write-zero': 16384 };
    const { raw } = await debugged(
      { ...limits, 'opt-discard': 4096, 'max-discard': 32768 },
      {
        onRequest: ({ operation, path, offset = 0, length = 0 }) => {
          if (path === '/a') seen.push(`${operation} ${offset}+${length}`);
          return undefined;
        },
      },
    );
    const during = async (action: Promise<unknown>): Promise<string[]> => {
      await action;
      return seen.splice(0);
    };
    seen.length = 0;
    expect(await during(raw.read(100, new Uint8Array(20000)))).to.satisfy((all: string[]) =>
      all.every((one) => Number(one.split('+')[1]) <= 8192 && Number(one.split(/[ +]/)[1]) % 512 === 0),
    );
    expect(await during(raw.write(0, new Uint8Array(20480)))).to.deep.equal([
      'write 0+8192',
      'write 8192+8192',
      'write 16384+4096',
    ]);
    const zeroes = await during(raw.writeZeroes(512, 40960));
    expect(zeroes[0]).to.equal('write 512+3584');
    expect(zeroes.at(-1)).to.equal('write 40960+512');
    expect(zeroes.slice(1, -1).map((one) => one.split(' ')[1])).to.deep.equal([
      '4096+12288',
      '16384+16384',
      '32768+8192',
    ]);
    const discards = await during(raw.discard(512, 65536));
    expect(discards.map((one) => one.split(' ')[1])).to.deep.equal(['4096+28672', '32768+32768']);
  });

  it('keeps the content through all limits', async () => {
    const { raw, bench } = await debugged({ align: 4096, 'max-transfer': 8192 });
    const bytes = pattern(30_001, 9);
    await raw.write(777, bytes);
    const back = new Uint8Array(30_001);
    await raw.read(777, back);
    expect(Buffer.compare(back, bytes)).to.equal(0);
    const expected = pattern(SIZE);
    expected.set(bytes, 777);
    expect(Buffer.compare(bench.host.readFile('/a'), expected)).to.equal(0);
  });

  it('takes whole blocks beyond the end of an image whose size is none of them', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', pattern(5120));
    const node = await opened(bench, { driver: 'blkdebug', align: 4096, image: { driver: 'file', filename: '/a' } });
    await node.write(5110, Uint8Array.of(1, 2, 3));
    const back = new Uint8Array(20);
    await node.read(5100, back);
    const expected = pattern(5120);
    expected.set([1, 2, 3], 5110);
    expect(Buffer.compare(back, expected.subarray(5100))).to.equal(0);
    expect(bench.host.readFile('/a').length).to.equal(5120);
  });
});

describe('blkdebug: config', () => {
  const rule = (...lines: string[]) => `[inject-error]\n${lines.join('\n')}`;

  it('has rules in sections', () => {
    const text = `# first\n\n[set-state]\nevent = "write_aio"\nnew_state = "2"\n[inject-error "x"]\nevent = "write_aio"\nstate = "2"\nerrno = "0x1c"\nsector = "-1"\nonce = "on"\niotype = "write"\n`;
    expect(parseConfig(text)).to.deep.equal({
      setState: [{ event: 'write_aio', new_state: 2 }],
      injectError: [{ event: 'write_aio', state: 2, errno: 28, sector: -1, once: true, iotype: 'write' }],
    });
  });

  for (const [text, words] of [
    ['x', 'no group defined'],
    ['event = "read_aio"', 'no group defined'],
    ['[foo]\nevent = "read_aio"', "There is no option group 'foo'"],
    [rule(), 'Missing event name for rule'],
    [rule('event = "x"'), 'invalid parameter value: x'],
    [rule('event = read_aio'), 'invalid parameter value: '],
    [rule('event = "read_aio"', 'nope = "1"'), "Invalid parameter 'nope'"],
    [rule('event = "read_aio"', 'errno = "abc"'), "Parameter 'errno' expects a number"],
    [rule('event = "read_aio"', 'once = "maybe"'), "Parameter 'once' expects 'on' or 'off'"],
    [rule('event = "read_aio"', 'iotype = "foo"'), 'invalid parameter value: foo'],
  ] as const) {
    it(`refuses ${JSON.stringify(text)}`, () => {
      expect(() => parseConfig(text)).to.throw(words);
    });
  }

  it('is read from a file, and its absence is said', async () => {
    const bench = makeBench();
    bench.host.writeFile('/a', new Uint8Array(SIZE));
    bench.host.writeFile('/conf', new TextEncoder().encode(rule('event = "none"', 'errno = "28"')));
    const image = { driver: 'file', filename: '/a' };
    const node = await opened(bench, { driver: 'blkdebug', config: '/conf', image });
    expect((await failureOf(node.read(0, new Uint8Array(1)))).code).to.equal('no-space');
    expect(node.filename).to.equal('blkdebug:/conf:/a');
    const none = await failureOf(opened(bench, { driver: 'blkdebug', config: '/none', image }));
    expect(none.message).to.equal('Could not read blkdebug config file: No such file or directory');
  });
});
