// `diskwright compact`: what it says, exit codes, and what is refused.

import { readFileSync, statSync } from 'node:fs';
import { expect } from 'chai';
import { openRealHost, Workspace } from '../../src/index.js';
import { Workshop } from '../support/cli.js';

const CLUSTER = 65536;
const COUNT = 16;

describe('diskwright compact', () => {
  let shop: Workshop;

  before(async () => {
    shop = await Workshop.open();
    await using workspace = new Workspace(await openRealHost());
    await workspace.create(shop.path('raw'), { driver: 'raw', size: CLUSTER });
    await workspace.create(shop.path('disk'), { driver: 'qcow2', size: COUNT * CLUSTER });
    await using image = await workspace.open({
      driver: 'qcow2',
      file: { driver: 'file', filename: shop.path('disk') },
    });
    for (let i = 0; i < COUNT; i++) await image.write(i * CLUSTER, new Uint8Array(CLUSTER).fill(i < COUNT / 2 ? 0 : i));
  });
  after(() => shop.remove());

  it('refuses what it cannot do, before anything is touched', () => {
    const before = readFileSync(shop.path('disk'));
    for (const [args, code, words] of [
      [[], 1, /Expecting one image file name/],
      [['disk', 'disk'], 1, /./],
      [['--shrink', 'disk'], 1, /unrecognized option '--shrink'/],
      [['--output=json', 'disk'], 1, /'--output' goes with '--dry-run'/],
      [['--dry-run', '--output=xml', 'disk'], 1, /./],
      [['-r', 'fast', 'disk'], 1, /./],
      [['gone'], 1, /No such file or directory/],
      [['-f', 'raw', 'raw'], 1, /Format driver 'raw' cannot be compacted/],
      // No warning that its format was not named: nothing would be better if it were.
      [['raw'], 1, /^diskwright: raw: Format driver 'raw' cannot be compacted\n$/],
      [['-n', '-f', 'raw', 'raw'], 1, /Format driver 'raw' cannot be compacted/],
      [['--dedupe-backing', 'disk'], 1, /no backing file to compare with/],
    ] as const) {
      const said = shop.ours('compact', ...args);
      expect(said.code, args.join(' ')).to.equal(code);
      expect(said.stdout, args.join(' ')).to.equal('');
      expect(said.stderr, args.join(' ')).to.match(words);
    }
    expect(readFileSync(shop.path('disk')).equals(before)).to.equal(true);
  });

  it('compares no external data file with the backing file', async () => {
    const options = ['-b', 'raw', '-F', 'raw', '-o', 'data_file=data'];
    expect(shop.ours('create', '-q', '-f', 'qcow2', ...options, 'external').code).to.equal(0);
    const said = shop.ours('compact', '--dedupe-backing', 'external');
    expect(said.code).to.equal(1);
    expect(said.stderr).to.match(/lies in an external data file/);
    expect(shop.ours('compact', '-q', 'external')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
  });

  it('waits for nobody who has the image open', async () => {
    await using workspace = new Workspace(await openRealHost());
    await using _image = await workspace.open(shop.path('disk'));
    const said = shop.ours('compact', 'disk');
    expect(said.code).to.equal(1);
    expect(said.stderr).to.match(/lock/);
  });

  it('says what it would do, does it, and has nothing to do then', () => {
    const { size } = statSync(shop.path('disk'));
    const told = shop.ours('compact', '--dry-run', '--output=json', 'disk');
    expect(told.stderr).to.equal('');
    const plan = JSON.parse(told.stdout) as Record<string, number>;
    expect(plan).to.include({ 'file-size': size, dropped: (COUNT / 2) * CLUSTER, 'leaked-clusters': 0 });
    expect(plan['freed']).to.equal((COUNT / 2) * CLUSTER);
    expect(plan['file-size-after']).to.equal(size - plan['freed']);
    expect(statSync(shop.path('disk')).size).to.equal(size);
    expect(shop.ours('compact', '-n', 'disk')).to.deep.equal({
      code: 0,
      stdout: '512 KiB of 1.31 MiB would be freed, 512 KiB moved. 512 KiB are zeroes, or equal to the backing file.\n',
      stderr: '',
    });
    expect(shop.ours('compact', 'disk')).to.deep.equal({
      code: 0,
      stdout: 'Freed 512 KiB of 1.31 MiB, dropped 512 KiB, moved 512 KiB.\n',
      stderr: '',
    });
    expect(statSync(shop.path('disk')).size).to.equal(plan['file-size-after']);
    expect(shop.ours('check', '-q', 'disk').code).to.equal(0);
    expect(shop.ours('compact', '-q', 'disk')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
  });
});
