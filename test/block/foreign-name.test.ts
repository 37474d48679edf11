// What a name inside an image may say: where another image lies, and nothing of how it is used.

import { expect } from 'chai';
import { parseFilename } from '../../src/block/filename.js';
import { imageOptions } from '../../src/block/foreign-name.js';
import { findDriver, registerDriver } from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { BlockError } from '../../src/util/errors.js';

const FILE = { driver: 'file', filename: '/base' };
const SOCKET = { type: 'unix', path: '/socket' };

const json = (options: object): string => `json:${JSON.stringify(options)}`;

const ALLOWED: readonly string[] = [
  '/base',
  'nbd://host/disk',
  'nbd:unix:/socket:exportname=disk',
  json({ driver: 'raw', offset: 512, size: 1024, file: FILE }),
  json({ driver: 'qcow2', backing: null, file: FILE }),
  json({ driver: 'qcow2', 'read-only': true, backing: { driver: 'raw', file: FILE }, file: FILE }),
  json({ driver: 'raw', 'file.driver': 'file', 'file.filename': '/base' }),
  json({ driver: 'nbd', server: SOCKET, export: 'disk' }),
  json({ driver: 'nbd', host: 'host', port: '1' }),
  json({ driver: 'nbd', path: '/socket' }),
];

const REFUSED: readonly [name: string, option: string][] = [
  [json({ driver: 'nbd', server: SOCKET, 'tls-creds': 'tls0' }), 'tls-creds=tls0'],
  ['nbds://host/disk?tls-creds=tls0', 'tls-creds=tls0'],
  [json({ driver: 'nbd', server: { type: 'fd', str: '3' } }), 'server.type=fd'],
  [json({ driver: 'nbd', 'server.type': 'fd', 'server.str': '3' }), 'server.type=fd'],
  [json({ driver: 'raw', 'node-name': 'mine', file: FILE }), 'node-name=mine'],
  [json({ driver: 'qcow2', 'encrypt.format': 'luks', file: FILE }), 'encrypt'],
  [json({ driver: 'raw', file: { ...FILE, 'pr-manager': 'helper' } }), 'pr-manager=helper'],
];

describe('a name inside an image', () => {
  before(registerDrivers);
  const check = (name: string): object => imageOptions(parseFilename(name), '/top');

  for (const name of ALLOWED) it(`may be ${name}`, () => void check(name));

  for (const [name, option] of REFUSED) {
    it(`may not be ${name}`, () => {
      const refused = expect(() => check(name)).to.throw(BlockError, `an image cannot ask for ${option}`);
      refused.with.property('code', 'permission');
    });
  }

  it('may have the options that the driver says', () => {
    const { open } = findDriver('file');
    const definition = { name: 'tape' as 'file', kind: 'protocol', followed: true, open } as const;
    const name = json({ driver: 'tape', filename: '/base', reel: 3, speed: 2 });
    const undo = [registerDriver({ ...definition, foreignOptions: { place: ['reel'], use: ['speed'] } })];
    try {
      expect(imageOptions(parseFilename(name), '/top').members)
        .to.deep.include({ reel: 3 })
        .and.not.have.property('speed');
      undo.push(registerDriver({ ...definition, foreignOptions: { place: ['reel'] } }));
      expect(() => check(name)).to.throw(BlockError, 'an image cannot ask for speed=2');
    } finally {
      for (const one of undo) one();
    }
  });
});
