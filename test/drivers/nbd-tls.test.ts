// TLS between the nbd driver and qemu-nbd: certificates, shared keys, and whom each side turns away.

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Authority } from '../host/pki.js';
import { requirePeer } from '../support/peers.js';
import { NbdLab } from './nbd-support.js';
import { failureOf, pattern } from './support.js';

const SIZE = 1 << 20;
const KEY = '00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff';

describe('nbd: TLS', () => {
  let authority: Authority;
  let stranger: Authority;
  let lab: NbdLab;

  before(function () {
    requirePeer(this, 'qemu-nbd');
    requirePeer(this, 'openssl');
    authority = new Authority();
    stranger = new Authority('Another CA');
  });
  after(() => {
    authority?.remove();
    stranger?.remove();
  });

  beforeEach(() => {
    lab = new NbdLab();
    writeFileSync(lab.path('image'), pattern(SIZE));
    folder('server', authority, 'server', 'subjectAltName=DNS:localhost,DNS:disks.example');
    folder('client', authority, 'client', '');
    folder('stranger', stranger, 'client', '');
    mkdirSync(lab.path('ca-only'));
    writeFileSync(lab.path('ca-only/ca-cert.pem'), authority.ca);
    mkdirSync(lab.path('psk'));
    writeFileSync(lab.path('psk/keys.psk'), `alice:${KEY}\n`);
    mkdirSync(lab.path('psk-wrong'));
    writeFileSync(lab.path('psk-wrong/keys.psk'), `alice:${KEY.replace('00', 'ff')}\n`);
  });
  afterEach(() => lab.close());

  function folder(name: string, ca: Authority, side: 'server' | 'client', extensions: string): void {
    mkdirSync(lab.path(name));
    const { cert, key } = ca.issue(`/CN=${name}`, extensions);
    writeFileSync(lab.path(`${name}/ca-cert.pem`), ca.ca);
    writeFileSync(lab.path(`${name}/${side}-cert.pem`), cert);
    writeFileSync(lab.path(`${name}/${side}-key.pem`), key);
  }

  async function serve(object: string): Promise<string> {
    const path = lab.path('s');
    await lab.qemuNbd(
      path,
      '--object',
      `${object},endpoint=server`,
      '--tls-creds',
      't',
      '-e',
      '4',
      '-f',
      'raw',
      lab.path('image'),
    );
    return path;
  }
  const x509 = (verify = 'on') => serve(`tls-creds-x509,id=t,dir=${lab.path('server')},verify-peer=${verify}`);
  const psk = () => serve(`tls-creds-psk,id=t,dir=${lab.path('psk')}`);
  const add = (text: string) => lab.graph.objects.add(text);

  async function works(path: string, own: object): Promise<void> {
    const node = await lab.openNbd(path, { 'tls-creds': 't', ...own });
    const data = pattern(300_000, 5);
    await node.write(4096, data);
    await node.flush();
    const back = new Uint8Array(SIZE);
    await node.read(0, back);
    expect(Buffer.compare(back.subarray(4096, 4096 + data.length), data)).to.equal(0);
    expect(Buffer.compare(back.subarray(0, 4096), pattern(SIZE).subarray(0, 4096))).to.equal(0);
  }

  it('certificates on both sides', async () => {
    const path = await x509();
    await add(`tls-creds-x509,id=t,dir=${lab.path('client')}`);
    await works(path, { 'tls-hostname': 'disks.example' });
  });

  it('a certificate of the server alone', async () => {
    const path = await x509('off');
    await add(`tls-creds-x509,id=t,dir=${lab.path('ca-only')}`);
    await works(path, { 'tls-hostname': 'localhost' });
  });

  it('a name that the certificate does not have is refused', async () => {
    const path = await x509();
    await add(`tls-creds-x509,id=t,dir=${lab.path('client')}`);
    const error = await failureOf(lab.openNbd(path, { 'tls-creds': 't', 'tls-hostname': 'evil.example' }));
    expect(error.code).to.equal('permission');
  });

  it('a UNIX socket has no name to check: certificates need one', async () => {
    const path = await x509();
    await add(`tls-creds-x509,id=t,dir=${lab.path('client')}`);
    const error = await failureOf(lab.openNbd(path, { 'tls-creds': 't' }));
    expect(error.code).to.equal('invalid-argument');
    expect(error.message).to.equal('No hostname for certificate validation');
  });

  it('a server of another authority is refused', async () => {
    const path = await x509('off');
    await add(`tls-creds-x509,id=t,dir=${lab.path('stranger')}`);
    const error = await failureOf(lab.openNbd(path, { 'tls-creds': 't', 'tls-hostname': 'localhost' }));
    expect(error.code).to.equal('permission');
  });

  it('a client without certificate is turned away', async () => {
    const path = await x509();
    await add(`tls-creds-x509,id=t,dir=${lab.path('ca-only')}`);
    const error = await failureOf(lab.openNbd(path, { 'tls-creds': 't', 'tls-hostname': 'localhost' }));
    expect(['permission', 'io']).to.include(error.code);
  });

  it('shared keys', async () => {
    const path = await psk();
    await add(`tls-creds-psk,id=t,dir=${lab.path('psk')},username=alice`);
    await works(path, {});
  });

  it('a wrong shared key is refused', async () => {
    const path = await psk();
    await add(`tls-creds-psk,id=t,dir=${lab.path('psk-wrong')},username=alice`);
    const error = await failureOf(lab.openNbd(path, { 'tls-creds': 't' }));
    expect(['permission', 'io']).to.include(error.code);
  });

  it('credentials in a name', async () => {
    const path = await psk();
    await add(`tls-creds-psk,id=t,dir=${lab.path('psk')},username=alice`);
    const node = await lab.open(`nbds+unix:///?socket=${path}&tls-creds=t`, { format: 'raw', readOnly: true });
    expect(node.length).to.equal(SIZE);
    const error = await failureOf(lab.open(`nbds+unix:///?socket=${path}&tls-creds=none`, { format: 'raw' }));
    expect(error.message).to.contain("No TLS credentials with id 'none'");
  });

  it('a server that demands it says so', async () => {
    const path = await psk();
    const error = await failureOf(lab.openNbd(path));
    expect(error.code).to.equal('permission');
    expect(error.message).to.contain('Did you forget a valid tls-creds?');
  });

  it('a server that cannot is not talked to', async () => {
    await lab.qemuNbd(lab.path('plain'), '-f', 'raw', lab.path('image'));
    await add(`tls-creds-psk,id=t,dir=${lab.path('psk')},username=alice`);
    const error = await failureOf(lab.openNbd(lab.path('plain'), { 'tls-creds': 't' }));
    expect(error.message).to.match(/option 5 \(starttls\)/);
  });
});
