// One node, written down in many ways; and file names that are options.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import type { LevelDriver, LooseOptions } from '../../src/schema/loose-options.js';
import {
  formatJsonFilename,
  parseBlockdevOptions,
  parseImageOptions,
  parseJsonFilename,
} from '../../src/schema/options.js';
import { BlockError } from '../../src/util/errors.js';
import { requirePeer } from '../support/peers.js';

const NODE = { driver: 'qcow2', 'read-only': true, file: { driver: 'file', filename: 'a,b' } } as const;
const QCOW2 = { name: 'qcow2', kind: 'format', hasBacking: true } as const;
const RAW = { name: 'raw', kind: 'format' } as const;
const FILE = { name: 'file', kind: 'protocol' } as const;

/** Two levels of options, checked as those of `driver` over a file. */
function asNode(options: LooseOptions, driver: LevelDriver): object {
  return { ...options.asOptionsOf(driver), file: (options.file as LooseOptions).asOptionsOf(FILE) };
}

describe('ways to write options', () => {
  it('are the same as an object', () => {
    expect(parseBlockdevOptions({ ...NODE })).to.deep.equal(NODE);
  });

  it('are the same as an option string', () => {
    const text = 'qcow2,read-only=on,file.driver=file,file.filename=a,,b';
    expect(parseBlockdevOptions(text)).to.deep.equal(NODE);
  });

  it('are the same as JSON', () => {
    expect(parseBlockdevOptions(JSON.stringify(NODE))).to.deep.equal(NODE);
  });

  it('are the same as image options, where the file needs no driver', () => {
    const options = parseImageOptions('driver=qcow2,read-only=on,file.filename=a,,b');
    expect(asNode(options, QCOW2)).to.deep.equal(NODE);
  });

  it('are the same as a file name, nested or dotted', () => {
    expect(asNode(parseJsonFilename(`json:${JSON.stringify(NODE)}`), QCOW2)).to.deep.equal(NODE);
    const dotted = 'json:{"driver":"qcow2","read-only":"on","file.filename":"a,b","file":{"driver":"file"}}';
    expect(asNode(parseJsonFilename(dotted), QCOW2)).to.deep.equal(NODE);
  });

  it('leave the driver to be found out', () => {
    const options = parseImageOptions('file.filename=x,discard=unmap,l2-cache-size=1M');
    expect(options.driver).to.equal(undefined);
    expect(options.general()).to.deep.equal({ discard: 'unmap' });
    expect(asNode(options, QCOW2)).to.deep.equal({
      driver: 'qcow2',
      discard: 'unmap',
      'l2-cache-size': 1048576,
      file: { driver: 'file', filename: 'x' },
    });
    expect(parseImageOptions('x').file).to.equal('x');
  });

  const refused: [string, () => unknown, string][] = [
    ['text for a number in JSON', () => parseBlockdevOptions('{"driver":"null-co","size":"5"}'), "type for 'size'"],
    [
      'dotted keys in an object',
      () => parseBlockdevOptions({ ...NODE, 'cache.direct': true }),
      "'cache.direct' is unexpected",
    ],
    ['broken JSON', () => parseJsonFilename('json:{'), 'Could not parse the JSON options: JSON parse error'],
    ['no JSON', () => parseJsonFilename('json:'), 'Could not parse the JSON options: Expecting a JSON value'],
    ['a list', () => parseJsonFilename('json:[]'), 'Invalid JSON object given'],
    [
      'an option of raw on what is qcow2',
      () => parseImageOptions('file.filename=x,offset=0').asOptionsOf(QCOW2),
      "Block format 'qcow2' does not support the option 'offset'",
    ],
    [
      'an unknown option',
      () => parseImageOptions('driver=raw,file.filename=x,foo=1').asOptionsOf(RAW),
      "Block format 'raw' does not support the option 'foo'",
    ],
    [
      'an unknown option of the file',
      () => parseImageOptions('driver=file,foo=1,filename=x').asOptionsOf(FILE),
      "Block protocol 'file' doesn't support the option 'foo'",
    ],
    [
      'a backing file of a format that has none',
      () => parseImageOptions('driver=raw,file.filename=x,backing.file.filename=y').asOptionsOf(RAW),
      "Driver doesn't support backing files",
    ],
    [
      'a number for a path',
      () => parseJsonFilename("json:{'driver':'file','filename':7}").asOptionsOf(FILE),
      "The 'file' block driver requires a file name",
    ],
  ];
  for (const [what, action, message] of refused) {
    it(`refuse ${what}`, () => {
      expect(action).to.throw(BlockError, message);
    });
  }
});

describe('file names that are options', () => {
  it('are read back as what they were made of', () => {
    const options = { driver: 'raw', offset: 512, size: 1024, file: NODE.file } as const;
    expect(asNode(parseJsonFilename(formatJsonFilename(options)), RAW)).to.deep.equal(options);
  });

  it('are spelled as qemu-img spells them', function () {
    requirePeer(this, 'qemu-img');
    const folder = mkdtempSync(join(tmpdir(), 'diskwright-'));
    try {
      const filename = join(folder, 'raw.img');
      writeFileSync(filename, Buffer.alloc(4096));
      const options = { driver: 'raw', size: 1024, file: { filename, driver: 'file' }, offset: 512 };
      const info = execFileSync('qemu-img', ['info', '--output=json', `json:${JSON.stringify(options)}`]);
      expect(formatJsonFilename(options)).to.equal((JSON.parse(info.toString()) as { filename: string }).filename);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
