// Adding a driver touches its folder, its schema and one line: two drivers that nothing in `src/` knows of, on the command line and in
// the library.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { registerDriver } from '../../../src/block/registry.js';
import { openRealHost } from '../../../src/host/real/index.js';
import { Workspace } from '../../../src/index.js';
import { pattern } from '../support.js';
import { run } from './command.js';
import { invertDriver, teeDriver } from './invert.js';
import { addSchema } from './schema.js';
import { tinyDriver } from './tiny.js';

const SIZE = 1 << 20;

describe('throw-away drivers', () => {
  let folder = '';
  let undo: (() => void)[] = [];
  const at = (name: string) => join(folder, name);

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-throw-away-'));
    undo = [addSchema(), registerDriver(tinyDriver), registerDriver(invertDriver), registerDriver(teeDriver)];
    writeFileSync(at('raw'), pattern(SIZE));
  });

  after(() => {
    for (const step of undo) step();
    rmSync(folder, { recursive: true });
  });

  it('a format: its options are listed and taken by create', async () => {
    expect((await run('create', '-f', 'tiny', '-o', 'help')).output).to.match(/flavour=<str> +- What it tastes of\n/);
    const made = await run('create', '-f', 'tiny', '-o', 'flavour=sweet', at('made'), '1M');
    expect(made).to.deep.equal({
      code: 0,
      output: `Formatting '${at('made')}', fmt=tiny size=1048576 flavour=sweet\n`,
      errors: '',
    });
    expect(readFileSync(at('made')).subarray(0, 19).toString()).to.equal('TINY\n1048576\nsweet\n');
  });

  it('a format: the help of the command line lists it', async () => {
    expect((await run('--help')).output).to.match(/Formats: [^.]*\btiny\b/);
    expect((await run('create', '--help')).output).to.match(/-f FMT\n[^-]*\btiny\b/);
    // It has no compressed clusters.
    expect((await run('convert', '--help')).output).to.match(
      /-c\n +Compress the target \((?![^)]*tiny)[^)]*qcow2[^)]*\)\./,
    );
  });

  it('a format: it is found out, and info says what it says, in its order', async () => {
    await run('create', '-f', 'tiny', at('shown'), '1M');
    const { code, output } = await run('info', at('shown'));
    expect(code).to.equal(0);
    expect(output).to.contain('file format: tiny\n');
    expect(output).to.match(/Format specific information:\n {4}flavour: plain\n {4}header bytes: 512\n$/);
  });

  it('a format: images are converted into it and back', async () => {
    expect((await run('convert', '-f', 'raw', '-O', 'tiny', at('raw'), at('tiny'))).code).to.equal(0);
    expect(readFileSync(at('tiny')).subarray(512).equals(pattern(SIZE))).to.equal(true);
    expect((await run('convert', '-O', 'raw', at('tiny'), at('back'))).code).to.equal(0);
    expect(readFileSync(at('back')).equals(pattern(SIZE))).to.equal(true);
  });

  it('a filter: it is opened by options on the command line, over the format', async () => {
    await run('convert', '-f', 'raw', '-O', 'tiny', at('raw'), at('below'));
    const options = `driver=invert,file.driver=tiny,file.file.driver=file,file.file.filename=${at('below')}`;
    expect((await run('convert', '--image-opts', '-O', 'raw', options, at('inverted'))).code).to.equal(0);
    const expected = pattern(SIZE).map((byte) => byte ^ 0xff);
    expect(readFileSync(at('inverted')).equals(expected)).to.equal(true);
  });

  it('both: the library reads and writes through them', async () => {
    await run('convert', '-f', 'raw', '-O', 'tiny', at('raw'), at('both'));
    const workspace = new Workspace(openRealHost());
    try {
      const file = { driver: 'tiny', file: { driver: 'file', filename: at('both') } };
      const image = await workspace.open({ driver: 'invert', file } as never);
      const buffer = new Uint8Array(4);
      await image.read(8, buffer);
      expect(buffer).to.deep.equal(Uint8Array.from(pattern(16).subarray(8, 12), (byte) => byte ^ 0xff));
      await image.write(8, Uint8Array.of(1, 2, 3, 4));
      await image.flush();
      await image.close();
    } finally {
      await workspace.close();
    }
    expect([...readFileSync(at('both')).subarray(520, 524)]).to.deep.equal([254, 253, 252, 251]);
  });

  it('a filter with a second child: each is opened by its own options, and needed', async () => {
    writeFileSync(at('copy'), new Uint8Array(SIZE));
    const below = `driver=tee,file.driver=raw,file.file.filename=${at('below')}`;
    writeFileSync(at('below'), new Uint8Array(SIZE));
    const options = `${below},copy.driver=invert,copy.file.driver=raw,copy.file.file.filename=${at('copy')}`;
    const copy = ['convert', '-n', '-f', 'raw', '--target-image-opts', at('raw')];
    expect((await run(...copy, options)).code).to.equal(0);
    expect(readFileSync(at('below')).equals(pattern(SIZE))).to.equal(true);
    expect(readFileSync(at('copy')).equals(pattern(SIZE).map((byte) => byte ^ 0xff))).to.equal(true);
    const workspace = new Workspace(openRealHost());
    try {
      const half = { driver: 'tee', file: { driver: 'file', filename: at('below') } };
      const error = await workspace.open(half as never).catch((failure: unknown) => failure);
      expect(error).to.have.property('message', "Parameter 'copy' is missing");
    } finally {
      await workspace.close();
    }
  });
});
