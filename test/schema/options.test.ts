// One node, written down in many ways; and file names that are options.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  formatJsonFilename,
  parseBlockdevOptions,
  parseImageOptions,
  parseJsonFilename,
} from '../../src/schema/options.js';
import { BlockError } from '../../src/util/errors.js';
import { requirePeer } from '../support/peers.js';

const NODE = { driver: 'qcow2', 'read-only': true, file: { driver: 'file', filename: 'a,b' } } as const;

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
    expect(parseImageOptions('driver=qcow2,read-only=on,file.filename=a,,b')).to.deep.equal(NODE);
  });

  it('are the same as a file name, nested or dotted', () => {
    expect(parseJsonFilename(`json:${JSON.stringify(NODE)}`)).to.deep.equal(NODE);
    const dotted = 'json:{"driver":"qcow2","read-only":"on","file.filename":"a,b","file":{"driver":"file"}}';
    expect(parseJsonFilename(dotted)).to.deep.equal(NODE);
  });

  it('leave the driver to be found out', () => {
    expect(parseImageOptions('file.filename=x,discard=unmap')).to.deep.equal({
      discard: 'unmap',
      file: { driver: 'file', filename: 'x' },
    });
    expect(parseImageOptions('x')).to.deep.equal({ file: 'x' });
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
    ['neither driver nor file', () => parseJsonFilename('json:{}'), 'Must specify either driver or file'],
    ['an unknown driver', () => parseJsonFilename('json:{"driver":"zz"}'), "'driver' does not accept value 'zz'"],
    [
      'an option of raw on what is probed',
      () => parseImageOptions('file.filename=x,offset=0'),
      "'offset' is unexpected",
    ],
    ['an unknown option', () => parseImageOptions('driver=raw,file.filename=x,foo=1'), "'foo' is unexpected"],
    ['an unknown option of the file', () => parseImageOptions('driver=raw,file.foo=1,file.filename=x'), "'file.foo'"],
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
    expect(parseJsonFilename(formatJsonFilename(options))).to.deep.equal(options);
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
