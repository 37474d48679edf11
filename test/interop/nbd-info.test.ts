// nbdinfo at our server and at qemu-nbd, on the same images: the same text, but for the path of the socket.

import { expect } from 'chai';
import { must, type NbdBench, type Outcome, run, type Served, specimens, useNbd } from './nbd-support.js';
import { qemuImg } from './support.js';

const ABILITIES = [
  ...[
    'cache',
    'connect',
    'df',
    'fast-zero',
    'flush',
    'fua',
    'multi-conn',
    'read',
    'structured-reply',
    'trim',
    'write',
    'zero',
  ],
];
const STATES = ['read-only', 'rotational', 'tls'];
const MAPS = ['--map', '--map=qemu:allocation-depth', '--map=base:allocation'];

/** Everything that nbdinfo can be asked. */
const QUESTIONS = [
  ...[[], ['--json'], ['--list'], ['--list', '--json'], ['--size'], ['--size', '--json']],
  ...MAPS.flatMap((map) => [[map], [map, '--json'], [map, '--totals'], [map, '--totals', '--json']]),
  ...ABILITIES.map((what) => ['--can', what]),
  ...STATES.map((what) => ['--is', what]),
];

async function ask(served: Served, question: readonly string[]): Promise<Outcome> {
  const { code, stdout, stderr } = await run('nbdinfo', [...question, served.uri]);
  const plain = (text: string) => text.replaceAll(served.socket, 'SOCKET');
  return { code, stdout: plain(stdout), stderr: plain(stderr) };
}

async function expectSame(ours: Served, theirs: Served, questions: readonly (readonly string[])[]): Promise<void> {
  for (const question of questions) {
    expect(await ask(ours, question), question.join(' ')).to.deep.equal(await ask(theirs, question));
  }
}

describe('nbdinfo', function () {
  this.timeout(120_000);
  const bench = useNbd('nbdinfo', 'qemu-nbd');

  it('finds in a read-only export what it finds in one of qemu-nbd', async () => {
    for (const { file, format } of await specimens(bench())) {
      const theirs = await bench().qemuNbd(file, format, '-r', '-A');
      const ours = await bench().ours(file, format, { open: { readOnly: true }, allocationDepth: true });
      await expectSame(ours, theirs, QUESTIONS);
    }
  });

  it('finds the same in a writable one with a name and a description', async () => {
    for (const { file, format } of (await specimens(bench())).slice(0, 2)) {
      const words = ['-x', 'a disk', '-D', 'for people: ä', '--discard=unmap'];
      const offer = { name: 'a disk', description: 'for people: ä' };
      const answers: Outcome[][] = [];
      // One after the other: each locks the image.
      for (const kind of ['ours', 'theirs'] as const) {
        const server = await writable(bench(), kind, file, format, words, offer);
        const questions = QUESTIONS.filter((question) => !question.some((word) => word.includes('depth')));
        const found: Outcome[] = [];
        for (const question of questions) found.push(await ask(server, question));
        answers.push(found);
        await server.close();
      }
      expect(answers[0]).to.deep.equal(answers[1]);
    }
  });

  it('reads a persistent bitmap as with qemu-nbd', async () => {
    const [, { file }] = await specimens(bench());
    qemuImg('bitmap', '--add', '-g', '64k', file, 'changed');
    await must('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 640k 64k', '-c', 'write -P 2 3M 200k', file]);
    const theirs = await bench().qemuNbd(file, 'qcow2', '-r', '-B', 'changed');
    const ours = await bench().ours(file, 'qcow2', { open: { readOnly: true }, bitmaps: ['changed'] });
    const map = '--map=qemu:dirty-bitmap:changed';
    await expectSame(ours, theirs, [['--json'], ['--list'], [map], [map, '--json'], [map, '--totals']]);
  });

  it('is told the same where there is no such export or context', async () => {
    const [{ file }] = await specimens(bench());
    const theirs = await bench().qemuNbd(file, 'raw', '-r', '-x', 'here');
    const ours = await bench().ours(file, 'raw', { open: { readOnly: true }, name: 'here' });
    const elsewhere = ({ uri, socket }: Served): Served => ({ uri: uri.replace('/here', '/there'), socket });
    await expectSame(elsewhere(ours), elsewhere(theirs), [[], ['--map'], ['--size']]);
    await expectSame(ours, theirs, [['--map=qemu:dirty-bitmap:none'], ['--map=x-none:y'], ['--list']]);
  });
});

async function writable(
  bench: NbdBench,
  kind: 'ours' | 'theirs',
  file: string,
  format: string,
  words: readonly string[],
  offer: { name: string; description: string },
): Promise<Served & { close(): Promise<void> }> {
  if (kind === 'ours') return bench.ours(file, format, offer);
  const server = await bench.qemuNbd(file, format, ...words);
  return { ...server, close: () => bench.end(server) };
}
