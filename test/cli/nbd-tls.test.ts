// TLS on the command line: our server and our list, with qemu-nbd on the other side and with each other.

import { mkdirSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Authority } from '../host/pki.js';
import { type Outcome, Workshop } from '../support/cli.js';
import { NbdProcess, nbdCommand, runNbd, SERVERS, type Server } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';

const NAME = 'disk.example.org';

describe('nbd: TLS', () => {
  let shop: Workshop;
  let socket: string;
  let server: NbdProcess | null;

  before(async function () {
    for (const peer of ['qemu-nbd', 'openssl', 'nbdinfo']) requirePeer(this, peer);
    shop = await Workshop.open();
    socket = shop.path('socket');
    writeFileSync(shop.path('a.raw'), Buffer.alloc(1 << 20));
    for (const folder of ['good', 'strange', 'psk']) mkdirSync(shop.path(folder));
    writeFileSync(shop.path('psk/keys.psk'), `alice:${'5a'.repeat(32)}\nbob:${'a5'.repeat(32)}\n`);
    const [authority, other] = [new Authority(), new Authority('Strange CA')];
    try {
      const one = authority.issue(`/CN=${NAME}`, `extendedKeyUsage=serverAuth\nsubjectAltName=DNS:${NAME}`);
      const files = { 'server-cert': one.cert, 'server-key': one.key, 'ca-cert': authority.ca };
      for (const [name, data] of Object.entries(files)) writeFileSync(shop.path(`good/${name}.pem`), data);
      writeFileSync(shop.path('strange/ca-cert.pem'), authority.ca);
      for (const [folder, issuer] of [
        ['good', authority],
        ['strange', other],
      ] as const) {
        const client = issuer.issue('/C=GB/O=Example Org/CN=laptop', 'extendedKeyUsage=clientAuth');
        writeFileSync(shop.path(`${folder}/client-cert.pem`), client.cert);
        writeFileSync(shop.path(`${folder}/client-key.pem`), client.key);
      }
    } finally {
      authority.remove();
      other.remove();
    }
  });
  beforeEach(() => {
    server = null;
  });
  afterEach(async () => {
    await server?.stop('SIGKILL');
  });
  after(() => shop?.remove());

  const x509 = (folder: string, endpoint: string): string[] => [
    '--object',
    `tls-creds-x509,id=tls0,endpoint=${endpoint},dir=${shop.path(folder)}`,
    '--tls-creds=tls0',
  ];
  const psk = (endpoint: string, user = ''): string[] => [
    '--object',
    `tls-creds-psk,id=tls0,endpoint=${endpoint},dir=${shop.path('psk')}${user}`,
    '--tls-creds=tls0',
  ];
  const serve = async (program: Server, ...words: string[]): Promise<void> => {
    server = await NbdProcess.start(program, socket, ['-t', '-e', '0', '-f', 'raw', ...words, 'a.raw'], shop.folder);
  };
  const list = async (program: Server, ...words: string[]): Promise<Outcome> =>
    runNbd(await nbdCommand(program), ['-L', '-k', socket, ...words], shop.folder);
  const expectListed = (outcome: Outcome): void => {
    expect(outcome.stderr).to.equal('');
    expect(outcome.stdout).to.match(/^exports available: 1\n export: ''\n {2}size: {2}1048576\n/);
    expect(outcome.code).to.equal(0);
  };

  for (const [there, here] of [
    ['diskwright', 'qemu-nbd'],
    ['qemu-nbd', 'diskwright'],
    ['diskwright', 'diskwright'],
  ] as const) {
    describe(`${there} serves, ${here} lists`, () => {
      it('with certificates, for the name that the server has', async () => {
        await serve(there, ...x509('good', 'server'));
        expectListed(await list(here, ...x509('good', 'client'), `--tls-hostname=${NAME}`));
      });

      it('not for another name', async () => {
        await serve(there, ...x509('good', 'server'));
        const { code, stdout, stderr } = await list(
          here,
          ...x509('good', 'client'),
          '--tls-hostname=other.example.org',
        );
        expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
        expect(stderr).to.match(/^(diskwright|qemu-nbd): .*(other\.example\.org|does not match the hostname)/);
      });

      it('not with a certificate of somebody else', async () => {
        await serve(there, ...x509('good', 'server'));
        const { code, stdout } = await list(here, ...x509('strange', 'client'), `--tls-hostname=${NAME}`);
        expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
      });

      it('with pre-shared keys', async () => {
        await serve(there, ...psk('server'));
        expectListed(await list(here, ...psk('client', ',username=alice')));
      });

      it('not without TLS where it is demanded, and not with it where there is none', async () => {
        await serve(there, ...psk('server'));
        const plain = await list(here);
        expect(plain.code).to.equal(1);
        expect(plain.stderr).to.include('TLS negotiation required before option');
        expect(plain.stderr).to.include('Did you forget a valid tls-creds?');
        await server?.stop();
        await serve(there);
        const encrypted = await list(here, ...psk('client', ',username=alice'));
        expect(encrypted.code).to.equal(1);
        expect(encrypted.stderr).to.include(
          'Denied by server for option 5 (starttls)\nserver reported: TLS not configured',
        );
      });
    });
  }

  for (const program of SERVERS) {
    it(`${program} lets in whom --tls-authz names, and nobody else`, async () => {
      const authz = (name: string): string[] => [
        ...x509('good', 'server'),
        '--object',
        `authz-simple,id=auth0,identity=${name.replaceAll(',', ',,')}`,
        '--tls-authz=auth0',
      ];
      await serve(program, ...authz('C=GB,O=Example Org,CN=laptop'));
      expectListed(await list('diskwright', ...x509('good', 'client'), `--tls-hostname=${NAME}`));
      await server?.stop();
      await serve(program, ...authz('C=GB,O=Example Org,CN=desktop'));
      const { code, stdout } = await list('diskwright', ...x509('good', 'client'), `--tls-hostname=${NAME}`);
      expect({ code, stdout }).to.deep.equal({ code: 1, stdout: '' });
    });
  }

  it('needs an object of --tls-authz that is there, before anybody comes', async () => {
    const words = ['-k', socket, ...x509('good', 'server'), '--tls-authz=nope', '-f', 'raw', 'a.raw'];
    expect(runNbd(await nbdCommand('diskwright'), words, shop.folder)).to.deep.equal({
      code: 1,
      stdout: '',
      stderr: "diskwright: Unable to find authorization object 'nope'\n",
    });
  });

  for (const [words, side, what] of [
    [['-L'], 'server', 'client'],
    [['-f', 'raw', 'a.raw'], 'client,username=alice', 'server'],
  ] as const) {
    it(`refuses credentials for the other endpoint (${what} needed)`, async () => {
      const [end, user] = side.split(',');
      const all = ['-k', socket, ...psk(end, user === undefined ? '' : `,${user}`), ...words];
      const message = `Failed to get TLS creds: Expected TLS credentials for a ${what} endpoint\n`;
      for (const program of SERVERS) {
        const { code, stderr } = runNbd(await nbdCommand(program), all, shop.folder);
        expect({ code, stderr }).to.deep.equal({ code: 1, stderr: `${program}: ${message}` });
      }
    });
  }
});
