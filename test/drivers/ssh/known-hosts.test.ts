// Files of known hosts, beside ssh-keygen, which finds the lines of a server; and names.

import { createHmac } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { KnownHosts, keyType, serverName } from '../../../src/drivers/protocols/ssh/known-hosts.js';
import { formatSshName, parseSshName } from '../../../src/drivers/protocols/ssh/name.js';
import { Random } from '../../../src/host/sim/index.js';
import { BlockError } from '../../../src/util/errors.js';
import { run } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { seedsOf, spanOf } from '../../support/sample.js';

/** A key of `type`, as it travels. */
function keyOf(type: string, byte: number): Buffer {
  const key = Buffer.alloc(4 + type.length + 4 + 32, byte);
  key.writeUInt32BE(type.length);
  key.write(type, 4, 'latin1');
  key.writeUInt32BE(32, 4 + type.length);
  return key;
}

const KEY = keyOf('ssh-ed25519', 1);
const line = (names: string, key = KEY, before = '') => `${before}${names} ${keyType(key)} ${key.toString('base64')}`;

function hashed(name: string): string {
  const salt = Buffer.alloc(20, 7);
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

describe('known hosts', () => {
  const verdict = (text: string, name = 'server', key: Uint8Array = KEY) => new KnownHosts([text], name).verdict(key);

  it('says what a file says of a key', () => {
    expect(verdict('')).to.equal('unknown');
    expect(verdict(line('server'))).to.equal('known');
    expect(verdict(line('SERVER'))).to.equal('known');
    expect(verdict(line('server', keyOf('ssh-ed25519', 2)))).to.equal('changed');
    expect(verdict(line('server', keyOf('ssh-rsa', 2)))).to.equal('other-type');
    expect(verdict(`${line('server')}\n${line('*', KEY, '@revoked ')}`)).to.equal('revoked');
    expect(verdict(line('server', KEY, '@revoked '), 'server', keyOf('ssh-ed25519', 3))).to.equal('unknown');
    expect(verdict(line('server', KEY, '@cert-authority '))).to.equal('unknown');
    expect(verdict(line(hashed('server')))).to.equal('known');
    expect(verdict(line(hashed('other')))).to.equal('unknown');
    expect(verdict(`${line('server')}\r\n`)).to.equal('known');
  });

  it('takes no damaged line for a key, and ends in time on any pattern', () => {
    for (const text of [
      'server',
      'server ssh-ed25519',
      'server ssh-ed25519 !!!!',
      'server ssh-rsa AAAA',
      '@revoked',
      '|1| x y',
      `${hashed('server').slice(0, -4)} ssh-rsa AAAA`,
    ]) {
      expect(verdict(text), text).to.equal('unknown');
    }
    expect(verdict(line(`${'*a'.repeat(5000)}b`), 'a'.repeat(5000))).to.equal('unknown');
    expect(keyType(new Uint8Array(3))).to.equal('');
    expect(keyType(new Uint8Array([255, 255, 255, 255, 1]))).to.equal('');
  });

  it('lists the types that the server is known by', () => {
    const text = [line('server', keyOf('ssh-rsa', 1)), line('server'), line('x'), line('server', KEY, '@revoked ')];
    expect(new KnownHosts([text.slice(0, 1).join('\n'), text.slice(1).join('\n')], 'server').types).to.deep.equal([
      'ssh-rsa',
      'ssh-ed25519',
    ]);
  });

  it('names a server with its port where that is not the usual one', () => {
    expect([serverName('Host', 22), serverName('::1', 2222)]).to.deep.equal(['host', '[::1]:2222']);
  });

  const SEEDS = seedsOf({ fixed: 6, daily: 4, soak: 2000 });
  it(`finds the lines that ssh-keygen finds (${spanOf(SEEDS)})`, function () {
    requirePeer(this, 'ssh-keygen');
    const folder = mkdtempSync(join(tmpdir(), 'diskwright-known-'));
    try {
      for (const seed of SEEDS) {
        const random = new Random(seed, 60);
        const one = (...of: string[]) => of[random.below(of.length)];
        const word = () =>
          Array.from({ length: random.between(1, 5) }, () => one('a', 'b', '*', '?', 'A', '.')).join('');
        const names = Array.from({ length: random.between(1, 4) }, () => `${one('', '', '!')}${word()}`).join(',');
        const text = `${one('', '# x\n', '\n')}${line(random.below(4) === 0 ? hashed('ab.a') : names)}\n`;
        const file = join(folder, 'known');
        writeFileSync(file, text);
        for (const name of ['ab.a', 'a', 'bb']) {
          const found = run('ssh-keygen', ['-F', name, '-f', file], folder).stdout !== '';
          expect(verdict(text, name), `seed ${seed}: ${name} in ${text}`).to.equal(found ? 'known' : 'unknown');
        }
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('names of files over SSH', () => {
  it('are parsed to what they are made of', () => {
    expect(parseSshName('ssh://me@[::1]:2222/a%20b?x=1&host_key_check=md5:aa#y')).to.deep.equal({
      server: { host: '::1', port: '2222' },
      path: '/a b',
      user: 'me',
      'host-key-check': { mode: 'hash', type: 'md5', hash: 'aa' },
    });
    expect(parseSshName('ssh://h/x')).to.deep.equal({ server: { host: 'h', port: '22' }, path: '/x' });
    expect(parseSshName('ssh://h:0//x').server.port).to.equal('22');
  });

  it('are refused where they are none', () => {
    for (const name of [
      'ssh:',
      'ssh:/x',
      'ssh://',
      'ssh://h',
      'ssh://h:1x/y',
      'ssh://[::1/y',
      'ssh://h/%',
      'ssh://h/%00',
      'ssh://h/x?host_key_check=',
    ]) {
      expect(() => parseSshName(name), name)
        .to.throw(BlockError)
        .with.property('code', 'invalid-argument');
    }
  });

  it('are printed so that they mean the same again', () => {
    for (const options of [
      { server: { host: 'h', port: '22' }, path: '/a?b#c%d e', user: 'a@b:c/d' },
      { server: { host: '::1', port: '1' }, path: '/ü', 'host-key-check': { mode: 'none' } as const },
      { server: { host: 'h', port: '1' }, path: '//x', 'host-key-check': { mode: 'known_hosts' } as const },
      {
        server: { host: 'h', port: '1' },
        path: '/',
        'host-key-check': { mode: 'hash', type: 'sha1', hash: 'a:b&c' } as const,
      },
    ]) {
      expect(parseSshName(formatSshName(options))).to.deep.equal(options);
    }
    // What no URL can say.
    expect(formatSshName({ server: { host: 'h', port: '1' }, path: 'relative' })).to.match(/^json:/);
    expect(formatSshName({ server: { host: 'h', port: '1', ipv4: true }, path: '/x' })).to.match(/^json:/);
  });
});
