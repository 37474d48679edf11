// A format that nothing in `src/` knows of: what every verb does with its images, and how it is refused what it cannot do, in the words of qemu-img.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { registerDriver } from '../../../src/block/registry.js';
import { pattern } from '../support.js';
import { type Ran, run } from './command.js';
import { addSchema } from './schema.js';
import { tinyDriver } from './tiny.js';

const SIZE = 1 << 20;

describe('a throw-away format', () => {
  let folder = '';
  let undo: (() => void)[] = [];
  const at = (name: string) => join(folder, name);

  /** Runs a command line that must not fail; resolves with what it prints. */
  async function done(...args: string[]): Promise<string> {
    const { code, output, errors } = await run(...args);
    expect({ code, errors }, args.join(' ')).to.deep.equal({ code: 0, errors: '' });
    return output;
  }

  const same = (one: string, other: string): Promise<string> => done('compare', at(one), at(other));

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-throw-away-'));
    undo = [addSchema(), registerDriver(tinyDriver)];
    writeFileSync(at('raw.raw'), pattern(SIZE));
  });

  beforeEach(() => done('convert', '-f', 'raw', '-O', 'tiny', at('raw.raw'), at('disk.tiny')));

  after(() => {
    for (const step of undo) step();
    rmSync(folder, { recursive: true });
  });

  it('is found out, and compared', async () => {
    const compared = await run('compare', '-F', 'raw', at('disk.tiny'), at('raw.raw'));
    expect(compared).to.deep.equal({ code: 0, output: 'Images are identical.\n', errors: '' });
    expect(await done('info', '--output=json', at('disk.tiny'))).to.match(/"format": "tiny"/);
  });

  it('is mapped, with the offsets in its file', async () => {
    const entries = JSON.parse(await done('map', '--output=json', at('disk.tiny')));
    expect(entries).to.have.length(1);
    expect(entries[0]).to.include({ start: 0, length: SIZE, data: true, zero: false, offset: 512 });
  });

  it('is measured as the source of another format', async () => {
    const sizes = JSON.parse(await done('measure', '--output=json', '-O', 'raw', at('disk.tiny')));
    expect(sizes).to.deep.equal({ required: SIZE, 'fully-allocated': SIZE });
  });

  it('lies below an overlay, which is committed into it', async () => {
    await done('create', '-f', 'qcow2', '-b', at('disk.tiny'), '-F', 'tiny', at('top.qcow2'));
    await done('io', '-c', 'write -P 9 4k 64k', at('top.qcow2'));
    await done('commit', at('top.qcow2'));
    const expected = pattern(SIZE).fill(9, 4096, 4096 + 65536);
    expect(readFileSync(at('disk.tiny')).subarray(512).equals(expected)).to.equal(true);
  });

  it('lies below an overlay, which is made independent of it, or rebased to it', async () => {
    await done('create', '-f', 'qcow2', '-b', at('disk.tiny'), '-F', 'tiny', at('top.qcow2'));
    await done('stream', at('top.qcow2'));
    await same('top.qcow2', 'disk.tiny');
    await done('rebase', '-b', at('disk.tiny'), '-F', 'tiny', at('top.qcow2'));
    await same('top.qcow2', 'disk.tiny');
  });

  for (const verb of ['backup', 'mirror']) {
    it(`is the source and the target of ${verb}`, async () => {
      for (const [source, target] of [
        ['disk.tiny', 'copy.qcow2'],
        ['copy.qcow2', 'copy.tiny'],
      ]) {
        await done(verb, `--target=${at(target)}`, '--sync=full', at(source));
        await same(source, target);
      }
      expect(await done('info', at('copy.tiny'))).to.contain('file format: tiny\n');
    });
  }

  it('is read and written by io and dd', async () => {
    await done('io', '-c', 'write -P 7 512 1k', '-c', 'read -P 7 512 1k', '-c', 'write -z 4k 4k', at('disk.tiny'));
    await done('dd', '-O', 'tiny', `if=${at('disk.tiny')}`, `of=${at('part.tiny')}`, 'bs=512', 'skip=1', 'count=3');
    expect(readFileSync(at('part.tiny')).subarray(512).equals(Buffer.alloc(1024, 7))).to.equal(true);
  });

  it('may lie in a file of its own beside the header, which is made, replaced and removed with it', async () => {
    const make = ['convert', '-f', 'raw', '-O', 'tiny', '-o', 'apart=on', at('raw.raw')];
    for (const _ of [1, 2]) await done(...make, at('two.tiny'));
    expect(statSync(at('two.tiny')).size).to.equal(512);
    expect(readFileSync(at('two.tiny-flat')).equals(pattern(SIZE))).to.equal(true);
    await same('two.tiny', 'disk.tiny');
  });

  it('may not have a part that is the image that is read: neither file is touched', async () => {
    writeFileSync(at('x.tiny'), 'old');
    writeFileSync(at('x.tiny-flat'), pattern(SIZE));
    const make = ['convert', '-f', 'raw', '-O', 'tiny', '-o', 'apart=on', at('x.tiny-flat'), at('x.tiny')];
    const { code, errors } = await run(...make);
    expect(code).to.equal(1);
    expect(errors).to.contain(at('x.tiny-flat'));
    expect(readFileSync(at('x.tiny'), 'latin1')).to.equal('old');
    expect(readFileSync(at('x.tiny-flat')).equals(pattern(SIZE))).to.equal(true);
  });

  it('that takes compressed writes alone gets them of convert without being asked to, and io is refused others', async () => {
    await done('convert', '-f', 'raw', '-O', 'tiny', '-o', 'packed=on', at('raw.raw'), at('packed.tiny'));
    await same('packed.tiny', 'disk.tiny');
    const plain = await run('io', '-c', 'write 0 4k', at('packed.tiny'));
    expect(plain.output + plain.errors).to.contain('write failed: Operation not supported\n');
    await done('io', '-c', 'write -c -P 3 0 4k', '-c', 'read -P 3 0 4k', at('packed.tiny'));
  });

  it('that takes compressed writes alone gets them of backup without being asked to', async () => {
    await done('backup', `--target=${at('saved.tiny')}`, '--sync=full', '-o', 'packed=on', at('disk.tiny'));
    await same('saved.tiny', 'disk.tiny');
  });

  it('that takes compressed writes alone is refused to mirror and commit before they begin', async () => {
    const mirrored = await run(
      'mirror',
      `--target=${at('mirrored.tiny')}`,
      '--sync=full',
      '-o',
      'packed=on',
      at('disk.tiny'),
    );
    expect(mirrored.errors).to.contain('takes compressed writes only');
    expect(existsSync(at('mirrored.tiny'))).to.equal(false);
    await done('convert', '-f', 'raw', '-O', 'tiny', '-o', 'packed=on', at('raw.raw'), at('packed.tiny'));
    await done('create', '-f', 'qcow2', '-b', at('packed.tiny'), '-F', 'tiny', at('top.qcow2'));
    await done('io', '-c', 'write -P 9 4k 64k', at('top.qcow2'));
    const before = readFileSync(at('packed.tiny'));
    const committed = await run('commit', at('top.qcow2'));
    expect(committed.errors).to.contain('takes compressed writes only');
    expect(readFileSync(at('packed.tiny')).equals(before)).to.equal(true);
  });

  it('that takes none is refused a compressed write, which is not stored in another way', async () => {
    const before = readFileSync(at('disk.tiny'));
    const { code, output, errors } = await run('io', '-c', 'write -c -P 3 0 4k', at('disk.tiny'));
    expect(code).to.equal(1);
    expect(output + errors).to.contain('write failed: Operation not supported\n');
    expect(readFileSync(at('disk.tiny')).equals(before)).to.equal(true);
  });

  const refused: [what: string, args: string[], code: number, words: string][] = [
    ['check', ['check', 'disk.tiny'], 63, 'This image format does not support checks'],
    ['check -r', ['check', '-r', 'all', 'disk.tiny'], 63, 'This image format does not support checks'],
    [
      'snapshot -c',
      ['snapshot', '-c', 's', 'disk.tiny'],
      1,
      "Could not create snapshot 's': -95 (Operation not supported)",
    ],
    [
      'snapshot -a',
      ['snapshot', '-a', 's', 'disk.tiny'],
      1,
      "Could not apply snapshot 's': Block driver does not support snapshots",
    ],
    ['snapshot -d', ['snapshot', '-d', 's', 'disk.tiny'], 1, "Could not delete snapshot 's': snapshot not found"],
    [
      'bitmap --remove',
      ['bitmap', '--remove', 'disk.tiny', 'b'],
      1,
      "Operation remove on bitmap b failed: Dirty bitmap 'b' not found",
    ],
    [
      'amend',
      ['amend', '-f', 'tiny', '-o', 'size=2M', 'disk.tiny'],
      1,
      "Format driver 'tiny' does not support option amendment",
    ],
    ['measure', ['measure', '-O', 'tiny', '--size', '4M'], 1, "Block driver 'tiny' does not support size measurement"],
    ['resize', ['resize', 'disk.tiny', '2M'], 1, 'Image format driver does not support resize'],
    [
      'convert -c',
      ['convert', '-c', '-O', 'tiny', 'disk.tiny', 'new.tiny'],
      1,
      'Compression not supported for this file format',
    ],
    [
      'create -b',
      ['create', '-f', 'tiny', '-b', 'disk.tiny', '-F', 'tiny', 'new.tiny'],
      1,
      "new.tiny: Backing file not supported for file format 'tiny'",
    ],
    ['commit', ['commit', 'disk.tiny'], 1, 'Image does not have a backing file'],
  ];
  for (const [what, args, code, words] of refused) {
    it(`is refused ${what} by name, and stays as it is`, async () => {
      const before = readFileSync(at('disk.tiny'));
      const place = (word: string): string => (word.endsWith('.tiny') ? at(word) : word);
      const ran: Ran = await run(...args.map(place));
      expect(ran.errors).to.contain(words.replace('new.tiny', at('new.tiny')));
      expect(ran.code).to.equal(code);
      expect(readFileSync(at('disk.tiny')).equals(before)).to.equal(true);
    });
  }
});
