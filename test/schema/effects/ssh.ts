// What the options of ssh do.

import { createHash } from 'node:crypto';
import { expect } from 'chai';
import type { SshSettings } from '../../../src/host/ssh.js';
import { type Bench, makeBench } from '../../drivers/support.js';
import { created, type Effects, opened, refusedOpen } from './kit.js';

const PATH = '/disk';
const SERVER = { host: 'server', port: '2222' };
const place = (own: object = {}) => ({ server: SERVER, path: PATH, 'host-key-check': { mode: 'none' }, ...own });
const ssh = (own: object = {}) => ({ driver: 'ssh', ...place(own) });

function bench(): Bench {
  const made = makeBench();
  made.host.ssh.files.set(PATH, { bytes: new Uint8Array(512), durable: new Uint8Array(512), modified: 1 });
  return made;
}

/** What the connection is made with. */
async function settingsOf(own: object): Promise<SshSettings> {
  const { host, ...rest } = bench();
  await opened({ host, ...rest }, ssh(own));
  return host.ssh.opened[0];
}

const hashOf = (type: string) => createHash(type).update(makeBench().host.ssh.key).digest('hex');
const hash = (type: string, text: string) => ({ 'host-key-check': { mode: 'hash', type, hash: text } });

export const sshEffects: Effects = {
  'BlockdevOptionsSsh.server': [
    'is where the file is',
    async () => expect((await settingsOf({})).address).to.deep.equal({ type: 'inet', host: 'server', port: 2222 }),
  ],
  'BlockdevOptionsSsh.path': [
    'is the file',
    () => refusedOpen(bench(), ssh({ path: '/other' }), /failed to open remote file '\/other': No such file/),
  ],
  'BlockdevOptionsSsh.user': [
    'is who logs in',
    async () => {
      expect((await settingsOf({})).user).to.equal('tester');
      expect((await settingsOf({ user: 'me' })).user).to.equal('me');
    },
  ],
  'BlockdevOptionsSsh.host-key-check': [
    'is known_hosts where it is left out',
    () => refusedOpen(bench(), ssh({ 'host-key-check': undefined }), /no host key was found in known_hosts/),
  ],
  'SshHostKeyCheck.mode': [
    'decides what the key must be',
    async () => {
      await settingsOf({ 'host-key-check': { mode: 'none' } });
      await refusedOpen(bench(), ssh({ 'host-key-check': { mode: 'known_hosts' } }), /no host key was found/);
      await refusedOpen(bench(), ssh(hash('md5', '00')), /does not match host_key_check 'md5:00'/);
    },
  ],
  'SshHostKeyHash.type': [
    'is the kind of the hash',
    async () => {
      for (const type of ['md5', 'sha1', 'sha256']) await settingsOf(hash(type, hashOf(type)));
      await refusedOpen(bench(), ssh(hash('sha1', hashOf('sha256'))), /does not match/);
    },
  ],
  'SshHostKeyHash.hash': [
    'is the hash, in either case, with or without colons',
    async () => {
      const text = hashOf('sha256');
      await settingsOf(hash('sha256', text.toUpperCase()));
      await settingsOf(hash('sha256', text.replace(/..(?!$)/g, '$&:')));
      await refusedOpen(bench(), ssh(hash('sha256', text.slice(2))), /does not match/);
    },
  ],
  'BlockdevCreateOptionsSsh.location': [
    'is where the file is made',
    async () => {
      const made = bench();
      await created(made, { driver: 'ssh', location: place({ path: '/new' }), size: 0 });
      expect([...made.host.ssh.files.keys()]).to.deep.equal([PATH, '/new']);
    },
  ],
  'BlockdevCreateOptionsSsh.size': [
    'is its size',
    async () => {
      const made = bench();
      await created(made, { driver: 'ssh', location: place(), size: 4096 });
      const { bytes, durable } = made.host.ssh.files.get(PATH)!;
      expect([bytes.length, durable.length]).to.deep.equal([4096, 4096]);
    },
  ],
};
