// TLS with certificates and with pre-shared keys, between our server and client and those of qemu, libnbd and nbdkit: every pair in
// which we are on one side, and who must stay outside.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Authority } from '../host/pki.js';
import { cliBundle } from '../support/cli.js';
import { must, type NbdBench, type Outcome, run, specimens, useNbd } from './nbd-support.js';

const IDENTITY = 'CN=good client';
const KEY = '5a'.repeat(32);

/** A way to be sure of each other. `folder` holds what both sides need, by the names that QEMU and GnuTLS give it. */
interface Scheme {
  name: 'x509' | 'psk';
  /** Options of qemu's programs, and of ours: without the endpoint. */
  credentials: (folder: string) => string;
  /** Query of an nbds+unix name. */
  query: (folder: string) => string;
  user: string;
  nbdkit: (folder: string) => string[];
  prepare: (folder: string) => void;
}

const SCHEMES: Scheme[] = [
  {
    name: 'x509',
    credentials: (folder) => `tls-creds-x509,id=tls0,dir=${folder},verify-peer=yes`,
    query: (folder) => `tls-certificates=${folder}`,
    user: '',
    nbdkit: (folder) => ['--tls=require', `--tls-certificates=${folder}`, '--tls-verify-peer'],
    prepare: (folder) => {
      const authority = new Authority();
      try {
        const server = authority.issue('/CN=localhost', 'extendedKeyUsage=serverAuth\nsubjectAltName=DNS:localhost');
        const client = authority.issue('/CN=good client', 'extendedKeyUsage=clientAuth');
        const files = { 'ca-cert': authority.ca, 'server-cert': server.cert, 'server-key': server.key };
        const clientFiles = { 'client-cert': client.cert, 'client-key': client.key };
        for (const [name, data] of Object.entries({ ...files, ...clientFiles }))
          writeFileSync(join(folder, `${name}.pem`), data);
      } finally {
        authority.remove();
      }
    },
  },
  {
    name: 'psk',
    credentials: (folder) => `tls-creds-psk,id=tls0,dir=${folder},username=alice`,
    query: (folder) => `tls-psk-file=${folder}/keys.psk`,
    user: 'alice@',
    nbdkit: (folder) => ['--tls=require', `--tls-psk=${folder}/keys.psk`],
    prepare: (folder) => writeFileSync(join(folder, 'keys.psk'), `alice:${KEY}\n`, { mode: 0o600 }),
  },
];

describe('TLS between us and others', function () {
  this.timeout(120_000);
  const bench = useNbd('qemu-nbd', 'nbdkit', 'nbdinfo', 'nbdcopy', 'openssl');

  /** qemu-nbd, or ours with the same words. */
  async function serve(program: readonly string[], file: string, scheme: Scheme, folder: string, ...words: string[]) {
    const socket = bench().freshSocket();
    const object = `${scheme.credentials(folder).replace(',username=alice', '')},endpoint=server`;
    const [command, ...first] = program;
    await bench().start(socket, command, [
      ...[...first, '-t', '-e', '4', '-r', '-f', 'raw', '-k', socket],
      ...['--object', object, '--tls-creds', 'tls0', ...words, file],
    ]);
    return socket;
  }

  const ours = async (verb: string) => [process.execPath, await cliBundle(), verb];

  /** Reads the whole export into a file. */
  async function convert(program: readonly string[], socket: string, scheme: Scheme, folder: string): Promise<Outcome> {
    const hostname = scheme.name === 'x509' ? ',tls-hostname=localhost' : '';
    const [command, ...first] = program;
    return run(command, [
      ...[...first, '--object', `${scheme.credentials(folder)},endpoint=client`, '--image-opts', '-O', 'raw'],
      ...[`driver=nbd,server.type=unix,server.path=${socket},tls-creds=tls0${hostname}`, bench().path('copy.raw')],
    ]);
  }

  const uriOf = (socket: string, scheme: Scheme, folder: string) =>
    `nbds+unix://${scheme.user}/?socket=${socket}&${scheme.query(folder)}${scheme.name === 'x509' ? '&tls-hostname=localhost' : ''}`;

  for (const scheme of SCHEMES) {
    it(`${scheme.name}: our server with the clients of libnbd and qemu, and ours`, async () => {
      const [{ file }] = await specimens(bench());
      const content = readFileSync(file);
      const folder = prepared(bench(), scheme);
      const socket = await serve(await ours('nbd'), file, scheme, folder);
      const uri = uriOf(socket, scheme, folder);
      expect((await run('nbdinfo', ['--is', 'tls', uri])).code, 'tls').to.equal(0);
      await must('nbdcopy', ['--connections=3', uri, bench().path('copy.raw')]);
      expect(readFileSync(bench().path('copy.raw')).equals(content), 'nbdcopy').to.equal(true);
      for (const program of [['qemu-img', 'convert'], await ours('convert')]) {
        expect(await convert(program, socket, scheme, folder), program.join(' ')).to.deep.equal(silent);
        expect(readFileSync(bench().path('copy.raw')).equals(content), program.join(' ')).to.equal(true);
      }
    });

    it(`${scheme.name}: our client at qemu-nbd and nbdkit`, async () => {
      const [{ file }] = await specimens(bench());
      const content = readFileSync(file);
      const folder = prepared(bench(), scheme);
      const kit = bench().freshSocket();
      await bench().start(kit, 'nbdkit', ['-f', '-U', kit, ...scheme.nbdkit(folder), 'file', file]);
      for (const socket of [await serve(['qemu-nbd'], file, scheme, folder), kit]) {
        expect(await convert(await ours('convert'), socket, scheme, folder)).to.deep.equal(silent);
        expect(readFileSync(bench().path('copy.raw')).equals(content)).to.equal(true);
      }
    });

    it(`${scheme.name}: a stranger, and who speaks plainly, stay outside`, async () => {
      const [{ file }] = await specimens(bench());
      const [folder, stranger] = [prepared(bench(), scheme), prepared(bench(), scheme, 'stranger')];
      if (scheme.name === 'psk') writeFileSync(join(stranger, 'keys.psk'), `alice:${'a5'.repeat(32)}\n`);
      const servers = [
        await serve(await ours('nbd'), file, scheme, folder),
        await serve(['qemu-nbd'], file, scheme, folder),
      ];
      for (const socket of servers) {
        expect((await run('nbdinfo', [uriOf(socket, scheme, stranger)])).code, 'libnbd').to.equal(1);
        expect((await run('nbdinfo', [`nbd+unix:///?socket=${socket}`])).code, 'plain').to.equal(1);
        for (const program of [['qemu-img', 'convert'], await ours('convert')]) {
          expect((await convert(program, socket, scheme, stranger)).code, program.join(' ')).to.equal(1);
        }
        expect((await run('nbdinfo', [uriOf(socket, scheme, folder)])).code, 'a friend').to.equal(0);
      }
    });
  }

  it('x509: only those come in who are on the list', async () => {
    const [{ file }] = await specimens(bench());
    const [scheme] = SCHEMES;
    const folder = prepared(bench(), scheme);
    for (const program of [await ours('nbd'), ['qemu-nbd']]) {
      for (const [identity, code] of [
        [IDENTITY, 0],
        ['CN=somebody else', 1],
      ] as const) {
        const authz = ['--object', `authz-simple,id=authz0,identity=${identity}`, '--tls-authz', 'authz0'];
        const socket = await serve(program, file, scheme, folder, ...authz);
        expect((await run('nbdinfo', [uriOf(socket, scheme, folder)])).code, `${program} ${identity}`).to.equal(code);
      }
    }
  });
});

const silent: Outcome = { code: 0, stdout: '', stderr: '' };

/** A folder with everything for both sides. A server reads no client's files, nor the other way round. */
function prepared(bench: NbdBench, scheme: Scheme, name = 'friend'): string {
  const folder = bench.path(name);
  mkdirSync(folder);
  scheme.prepare(folder);
  return folder;
}
