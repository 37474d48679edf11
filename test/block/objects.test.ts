// Secrets, credentials and lists of who may come in: made from text or options, found by id.

import { createCipheriv, generateKeyPairSync } from 'node:crypto';
import { expect } from 'chai';
import { matchesGlob } from '../../src/block/objects/authz.js';
import { UserObjects } from '../../src/block/objects/index.js';
import type { Host } from '../../src/host/host.js';
import type { ObjectOptions } from '../../src/schema/generated/types.js';
import { BlockError } from '../../src/util/errors.js';

const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';

/** A host that has nothing but small files. */
function hostWith(files: Record<string, string>): Host {
  const readSmall = async (path: string): Promise<Uint8Array> => {
    const text = files[path];
    if (text === undefined) throw new BlockError('not-found', `${path}: ENOENT`, { path, errno: 'ENOENT' });
    return new TextEncoder().encode(text);
  };
  const ciphers = { secret: (bytes: number) => new Uint8Array(bytes), forget: (secret: Uint8Array) => secret.fill(0) };
  return { readSmall, ciphers } as unknown as Host;
}

async function failure(promise: Promise<unknown>): Promise<BlockError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).to.be.instanceOf(BlockError);
  return error as BlockError;
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

describe('objects', () => {
  it('are made from an option string, from JSON and from options alike', async () => {
    const objects = new UserObjects(hostWith({}));
    await objects.add('secret,id=a,data=pass,,word');
    await objects.add('{"qom-type":"secret","id":"b","data":"pass,word"}');
    await objects.add({ 'qom-type': 'secret', id: 'c', data: 'pass,word' });
    for (const id of ['a', 'b', 'c']) expect(text(objects.secret(id))).to.equal('pass,word');
  });

  it('that are secrets are encrypted with another secret, also a file', async () => {
    const key = Buffer.alloc(32, 1);
    const iv = Buffer.alloc(16, 2);
    const encrypted = (plain: string): Buffer => {
      const cipher = createCipheriv('aes-256-cbc', key, iv);
      return Buffer.concat([cipher.update(plain), cipher.final()]);
    };
    const plain = 'sixteen bytes 16';
    const objects = new UserObjects(
      hostWith({ '/key': key.toString('base64'), '/s': encrypted(plain).toString('base64') }),
    );
    await objects.add('secret,id=key,file=/key,format=base64');
    await objects.add(`secret,id=s,file=/s,format=base64,keyid=key,iv=${iv.toString('base64')}`);
    await objects.add({
      ...{ 'qom-type': 'secret', id: 'short', format: 'base64', keyid: 'key' },
      ...{ data: encrypted('x').toString('base64'), iv: iv.toString('base64') },
    });
    objects.remove('key');
    expect([text(objects.secret('s')), text(objects.secret('short'))]).to.deep.equal([plain, 'x']);
  });

  it('that are authorizations let in whom they name now', async () => {
    const objects = new UserObjects(hostWith({}));
    await objects.add('authz-simple,id=one,identity=a');
    await objects.add('authz-list,id=list');
    const allowed = (name: string) => Promise.all(['one', 'list'].map((id) => objects.authorizer(id).authorise(name)));
    expect(await allowed('b')).to.deep.equal([false, false]);
    objects.tree.set('one', 'identity', 'b');
    objects.tree.set('list', 'rules', [{ match: 'b', policy: 'allow' }]);
    expect(await allowed('b')).to.deep.equal([true, true]);
    objects.tree.set('list', 'policy', 'allow');
    expect(await allowed('a')).to.deep.equal([false, true]);
  });

  it('go by an id of their own', async () => {
    const objects = new UserObjects(hostWith({}));
    await objects.add('secret,id=a,data=1');
    expect((await failure(objects.add('secret,id=a,data=2'))).code).to.equal('exists');
    objects.remove('a');
    await objects.add('secret,id=a,data=2');
    expect(text(objects.secret('a'))).to.equal('2');
  });

  const refused: [string, string, string][] = [
    ['secret,data=x', 'invalid-argument', "Parameter 'id' is missing"],
    ['secret,id=0x,data=x', 'invalid-argument', "Parameter 'id' expects an identifier"],
    ['secret,id=a', 'invalid-argument', "Either 'file' or 'data' must be provided"],
    ['secret,id=a,data=x,file=y', 'invalid-argument', "'file' and 'data' are mutually exclusive"],
    ['secret,id=a,file=/none', 'not-found', 'Unable to read /none'],
    ['secret,id=a,data=?,format=base64', 'invalid-argument', 'Base64 data contains invalid characters'],
    ['secret,id=a,data=x,keyid=k', 'not-found', "No secret with id 'k'"],
    ['secret,id=a,data=x,iv=AAAA', 'invalid-argument', "'iv' is for secrets that are encrypted"],
    ['tls-creds-anon,id=a', 'unsupported', "Objects of type 'tls-creds-anon' are not supported"],
    ['nonsense,id=a', 'invalid-argument', "Parameter 'qom-type' does not accept value 'nonsense'"],
    ['tls-creds-x509,id=a,dir=/d,foo=1', 'unknown-option', "Parameter 'foo' is unexpected"],
    ['tls-creds-x509,id=a,dir=/d,priority=NORMAL', 'unsupported', "Parameter 'priority' is not supported"],
    ['tls-creds-x509,id=a', 'invalid-argument', "Missing 'dir' property value"],
    ['tls-creds-x509,id=a,dir=/none', 'not-found', 'Unable to access credentials /none/ca-cert.pem: No such file'],
    ['tls-creds-x509,id=a,dir=/bad', 'invalid-argument', 'Unable to import CA certificate list /bad/ca-cert.pem'],
    ['tls-creds-x509,id=a,dir=/half', 'not-found', 'Unable to access credentials /half/client-key.pem'],
    ['tls-creds-x509,id=a,dir=/half,endpoint=server', 'not-found', '/half/server-cert.pem'],
    ['tls-creds-x509,id=a,dir=/half,passwordid=p', 'not-found', "No secret with id 'p'"],
    ['tls-creds-psk,id=a,dir=/psk', 'invalid-argument', 'Username qemu not found in PSK file /psk/keys.psk'],
    ['tls-creds-psk,id=a,dir=/psk,username=x,endpoint=server', 'invalid-argument', 'username should not be set'],
    ['tls-creds-psk,id=a,dir=/broken,username=x', 'invalid-argument', '/broken/keys.psk: line 2 is not of the form'],
    ['authz-list-file,id=a,filename=/broken/acl', 'invalid-argument', 'Unable to load authorization list'],
  ];
  for (const [input, code, message] of refused) {
    it(`refuse: ${input}`, async () => {
      const objects = new UserObjects(
        hostWith({
          '/bad/ca-cert.pem': 'nonsense',
          '/half/ca-cert.pem': PEM,
          '/half/client-cert.pem': PEM,
          '/psk/keys.psk': 'rich:00ff\n',
          '/broken/keys.psk': 'x:00\nsecretsecret\n',
          '/broken/acl': '{"rules":[{"match":"x"}]}',
        }),
      );
      const error = await failure(objects.add(input));
      expect(error.message).to.contain(message);
      expect(error.code).to.equal(code);
      expect(error.message).not.to.contain('secretsecret');
    });
  }

  it('are not taken for something else', async () => {
    const objects = new UserObjects(hostWith({ '/psk/keys.psk': 'rich:00ff\n' }));
    await objects.add('secret,id=s,data=x');
    await objects.add('tls-creds-psk,id=t,dir=/psk,username=rich');
    expect(() => objects.tls('s', 'client')).to.throw("Object with id 's' is not TLS credentials");
    expect(() => objects.tls('t', 'server')).to.throw('Expected TLS credentials for a server endpoint');
    expect(() => objects.tls('u', 'client')).to.throw("No TLS credentials with id 'u'");
    expect(() => objects.secret('t')).to.throw('is not a secret');
    expect(() => objects.authorizer('t')).to.throw('is not an authorization object');
  });

  it('decrypt a key when they are made, and keep no password', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const encryption = { format: 'pem', cipher: 'aes-256-cbc', passphrase: 'right' } as const;
    const plain = privateKey.export({ type: 'pkcs8', format: 'pem' });
    const keys = {
      plain,
      pkcs8: privateKey.export({ type: 'pkcs8', ...encryption }),
      older: privateKey.export({ type: 'sec1', ...encryption }),
    };
    const files = Object.entries(keys).flatMap(([name, key]) => [
      [`/${name}/ca-cert.pem`, PEM],
      [`/${name}/server-cert.pem`, PEM],
      [`/${name}/server-key.pem`, key.toString()],
    ]);
    const host = hostWith(Object.fromEntries(files));
    const forgotten: Uint8Array[] = [];
    host.ciphers.forget = (secret) => forgotten.push(secret.fill(0));
    const objects = new UserObjects(host);
    await objects.add('secret,id=right,data=right');
    await objects.add('secret,id=wrong,data=wrong');
    for (const name of ['plain', 'pkcs8', 'older']) {
      const creds = `tls-creds-x509,endpoint=server,dir=/${name}`;
      await objects.add(`${creds},id=${name},passwordid=right`);
      const settings = objects.tls(name, 'server');
      expect(text(settings.key), name).to.equal(plain);
      expect(settings.passphrase, name).to.equal(undefined);
      if (name === 'plain') continue;
      for (const other of [',passwordid=wrong', '']) {
        const error = await failure(objects.add(`${creds},id=other${other}`));
        expect(error.code).to.equal('invalid-argument');
        const both = `certificate '/${name}/server-cert.pem' & key '/${name}/server-key.pem'`;
        expect(error.message).to.equal(`Cannot load ${both}: Decryption has failed.`);
      }
    }
    expect(forgotten, 'the copies of passwords').to.have.length(5);
  });

  it('read certificates as their side needs them', async () => {
    const names = ['ca-cert', 'ca-crl', 'server-cert', 'server-key', 'client-cert', 'client-key'];
    const files = Object.fromEntries(names.map((name) => [`/d/${name}.pem`, `${PEM}${name}`]));
    const objects = new UserObjects(hostWith({ ...files, '/only-ca/ca-cert.pem': PEM }));
    await objects.add('secret,id=p,data=cGFzcw==,format=base64');
    await objects.add('tls-creds-x509,id=server,dir=/d/,endpoint=server,passwordid=p,verify-peer=off');
    await objects.add('tls-creds-x509,id=client,dir=/d');
    await objects.add('tls-creds-x509,id=ca,dir=/only-ca');
    const server = objects.tls('server', 'server');
    expect(server).to.include({ kind: 'x509', verifyPeer: false });
    expect([server.ca, server.crl, server.cert, server.key].map((file) => text(file).slice(PEM.length))).to.deep.equal([
      'ca-cert',
      'ca-crl',
      'server-cert',
      'server-key',
    ]);
    const client = objects.tls('client', 'client');
    expect(client).to.include({ kind: 'x509', verifyPeer: true });
    expect(client.crl).to.equal(undefined);
    expect([client.cert, client.key].map((file) => text(file).slice(PEM.length))).to.deep.equal([
      'client-cert',
      'client-key',
    ]);
    expect(objects.tls('ca', 'client').cert).to.equal(undefined);
    expect(objects.tls('ca', 'client').key).to.equal(undefined);
  });

  it('read shared keys: a server all, a client its own', async () => {
    const objects = new UserObjects(hostWith({ '/d/keys.psk': '# comment\nrich:00ff\n\na:b:0A\nrich:11\n' }));
    await objects.add('tls-creds-psk,id=server,dir=/d,endpoint=server');
    await objects.add('tls-creds-psk,id=client,dir=/d,username=rich');
    expect([...objects.tls('server', 'server').keys!]).to.deep.equal([
      ['rich', Uint8Array.of(0, 255)],
      ['a:b', Uint8Array.of(10)],
    ]);
    const client = objects.tls('client', 'client');
    expect(client.username).to.equal('rich');
    expect([...client.keys!]).to.deep.equal([['rich', Uint8Array.of(0, 255)]]);
  });
});

describe('who may come in', () => {
  const rules = [
    { match: 'fred', policy: 'allow' },
    { match: 'danb', policy: 'deny', format: 'exact' },
    { match: 'dan*', policy: 'allow', format: 'glob' },
  ];
  const expected = { fred: true, danb: false, dan: true, daniel: true, bob: false, FRED: false, '': false };

  async function answers(objects: UserObjects): Promise<Record<string, boolean>> {
    const found: Record<string, boolean> = {};
    for (const name of Object.keys(expected)) found[name] = await objects.authorizer('z').authorise(name);
    return found;
  }

  it('one', async () => {
    const objects = new UserObjects(hostWith({}));
    await objects.add('authz-simple,id=z,identity=CN=laptop,,O=Home');
    expect(await objects.authorizer('z').authorise('CN=laptop,O=Home')).to.equal(true);
    expect(await objects.authorizer('z').authorise('CN=laptop')).to.equal(false);
  });

  it('by a list, in which the first rule that fits decides', async () => {
    const objects = new UserObjects(hostWith({}));
    await objects.add({ 'qom-type': 'authz-list', id: 'z', rules } as ObjectOptions);
    expect(await answers(objects)).to.deep.equal(expected);
    objects.remove('z');
    await objects.add('authz-list,id=z,policy=allow,rules.0.match=fred,rules.0.policy=deny');
    expect(await objects.authorizer('z').authorise('fred')).to.equal(false);
    expect(await objects.authorizer('z').authorise('bob')).to.equal(true);
  });

  it('by a list in a file, as it is now; nobody while it is broken', async () => {
    const files: Record<string, string> = { '/acl': JSON.stringify({ rules }) };
    const objects = new UserObjects(hostWith(files));
    await objects.add('authz-list-file,id=z,filename=/acl');
    await objects.add('authz-listfile,id=fixed,filename=/acl,refresh=off');
    expect(await answers(objects)).to.deep.equal(expected);
    files['/acl'] = '{"policy":"allow"}';
    expect(await objects.authorizer('z').authorise('bob')).to.equal(true);
    files['/acl'] = '{"policy":';
    expect(await objects.authorizer('z').authorise('bob')).to.equal(false);
    expect(await objects.authorizer('fixed').authorise('fred')).to.equal(true);
  });

  it('by patterns with * and ?', () => {
    const cases: [string, string, boolean][] = [
      ['*', '', true],
      ['', '', true],
      ['', 'a', false],
      ['?', 'a', true],
      ['?', '', false],
      ['a*c', 'abbbc', true],
      ['a*c', 'abbbcd', false],
      ['*a*b*', 'xxaxxbxx', true],
      ['*ab', 'aab', true],
      ['[a]', 'a', false],
      ['a.c', 'abc', false],
      ['?', '\u{1f600}', true],
    ];
    for (const [pattern, name, matches] of cases) expect(matchesGlob(pattern, name), pattern).to.equal(matches);
    const started = process.hrtime.bigint();
    expect(matchesGlob('*a'.repeat(200), 'a'.repeat(4000).concat('b'))).to.equal(false);
    expect(Number(process.hrtime.bigint() - started) / 1e6).to.be.lessThan(2000);
  });
});
