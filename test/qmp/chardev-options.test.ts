// What character devices have beside their kind: logs, TLS, pseudo terminals, ports and names of sockets.

import { closeSync, constants, mkdirSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { expect } from 'chai';
import { Monitors } from '../../src/qmp/monitors.js';
import type { ChardevOptions } from '../../src/schema/generated/types.js';
import { failureOf } from '../drivers/support.js';
import { until } from '../support/nbd-process.js';
import { Bench } from './support.js';

const HELLO = '{"execute": "qmp_capabilities"}{"execute": "query-name", "id": 7}\n';
const ANSWERS = '{"return": {}}\r\n{"return": {}, "id": 7}\r\n';
const KEY = '00112233445566778899aabbccddeeff';

describe('character devices:', () => {
  let bench: Bench;
  let monitors: Monitors;

  beforeEach(() => {
    bench = new Bench();
    monitors = new Monitors(bench.context);
  });
  afterEach(async () => {
    await monitors.close();
    await bench.close();
  });

  const add = (options: ChardevOptions) => bench.addChardev(options);
  const filename = (id: string): string | undefined =>
    bench.context.chardevs.list().find(({ label }) => label === id)?.filename;

  /** Of one that listens, and has no client yet. */
  const portOf = (id: string): number => Number(/:(\d+),server=on$/.exec(String(filename(id)))?.[1]);

  describe('a log', () => {
    it('has what the monitor sends, and nothing that it gets', async () => {
      writeFileSync(bench.path('in'), HELLO);
      const words = { path: bench.path('out'), 'input-path': bench.path('in') } as const;
      await add({ backend: 'file', id: 'f', ...words, logfile: bench.path('log') });
      monitors.add({ chardev: 'f' });
      await until('it has answered', () => readFileSync(bench.path('log'), 'utf8').endsWith(ANSWERS));
      await until('all is written', () => readFileSync(bench.path('out'), 'utf8').endsWith(ANSWERS));
      expect(readFileSync(bench.path('log'), 'utf8')).to.equal(readFileSync(bench.path('out'), 'utf8'));
    });

    it('is that of a device without any other way out, too', async () => {
      await add({ backend: 'null', id: 'n', logfile: bench.path('log') });
      monitors.add({ chardev: 'n' });
      expect(readFileSync(bench.path('log'), 'utf8')).to.match(/^\{"QMP": /);
    });

    it('is begun anew, or goes on with logappend', async () => {
      for (const [append, before] of [
        [false, ''],
        [true, 'earlier\n'],
      ] as const) {
        writeFileSync(bench.path('log'), 'earlier\n');
        await add({ backend: 'null', id: 'n', logfile: bench.path('log'), logappend: append });
        expect(readFileSync(bench.path('log'), 'utf8')).to.equal(before);
        await bench.context.chardevs.remove('n');
      }
    });

    it('that cannot be written is refused, and leaves no device', async () => {
      const error = await failureOf(add({ backend: 'null', id: 'n', logfile: bench.path('none/log') }));
      expect(error.reason).to.equal(`Could not create '${bench.path('none/log')}': No such file or directory`);
      expect(filename('n')).to.equal(undefined);
    });
  });

  describe('a pseudo terminal', () => {
    it('is a monitor for those who open it, one after the other', async () => {
      const { pty } = await add({ backend: 'pty', id: 'p' });
      expect(filename('p')).to.equal(`pty:${pty}`);
      monitors.add({ chardev: 'p' });
      for (const expected of [ANSWERS, '{"return": {}, "id": 7}\r\n']) {
        const fd = openSync(String(pty), constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
        writeSync(fd, HELLO);
        let said = '';
        await until('it has answered', () => {
          said += readNow(fd);
          return said.endsWith(expected);
        });
        closeSync(fd);
      }
    });

    it('goes with the device', async () => {
      const { pty } = await add({ backend: 'pty', id: 'p' });
      await bench.context.chardevs.remove('p');
      expect(() => closeSync(openSync(String(pty), constants.O_RDWR | constants.O_NOCTTY))).to.throw();
    });
  });

  describe('a socket', () => {
    it('listens at the first free port of a range, of which query-chardev tells', async () => {
      const taken = await bench.host.net.listen({ type: 'inet', host: '127.0.0.1', port: 0 }, () => undefined);
      const { port } = taken.address as { port: number };
      const words = { host: '127.0.0.1', server: true, wait: false } as const;
      await add({ backend: 'socket', id: 's', port: String(port), to: port + 20, ...words });
      const [, found] = /^disconnected:tcp:127\.0\.0\.1:(\d+),server=on$/.exec(String(filename('s'))) ?? [];
      expect(Number(found)).to.be.within(port + 1, port + 20);
      const error = await failureOf(add({ backend: 'socket', id: 't', port: String(port), to: port, ...words }));
      expect(error.code).to.equal('busy');
      await taken.close();
    });

    it('with TLS lets in who has the key', async () => {
      mkdirSync(bench.path('keys'));
      writeFileSync(bench.path('keys/keys.psk'), `qemu:${KEY}\n`);
      await bench.context.graph.objects.add(`tls-creds-psk,id=tls,dir=${bench.path('keys')},endpoint=server`);
      const words = { host: '127.0.0.1', port: '0', server: true, wait: false } as const;
      await add({ backend: 'socket', id: 's', ...words, 'tls-creds': 'tls' });
      monitors.add({ chardev: 's' });
      const talk = (key: string): Promise<string> =>
        new Promise((resolve) => {
          let said = '';
          const socket = connectTls({
            socket: connectTcp(portOf('s'), '127.0.0.1'),
            ciphers: 'PSK',
            checkServerIdentity: () => undefined,
            pskCallback: () => ({ psk: Buffer.from(key, 'hex'), identity: 'qemu' }),
          });
          socket.on('secureConnect', () => socket.write(HELLO));
          socket.on('data', (bytes) => {
            said += bytes;
            if (said.endsWith(ANSWERS)) socket.end();
          });
          socket.on('error', () => undefined);
          socket.on('close', () => resolve(said));
        });
      expect(await talk(KEY)).to.match(/^\{"QMP": /);
      expect(await talk(KEY.replace('0', '1'))).to.equal('');
    });

    it('with TLS asks who its clients are', async () => {
      mkdirSync(bench.path('keys'));
      writeFileSync(bench.path('keys/keys.psk'), `qemu:${KEY}\n`);
      const { objects } = bench.context.graph;
      await objects.add(`tls-creds-psk,id=tls,dir=${bench.path('keys')},endpoint=server`);
      await objects.add(`tls-creds-psk,id=client,dir=${bench.path('keys')},endpoint=client`);
      await objects.add('authz-simple,id=nobody,identity=somebody');
      await objects.add('authz-simple,id=qemu,identity=qemu');
      for (const [id, there] of [
        ['nobody', false],
        ['qemu', true],
      ] as const) {
        const words = { server: true, wait: false, 'tls-creds': 'tls', 'tls-authz': id } as const;
        await add({ backend: 'socket', id, host: '127.0.0.1', port: '0', ...words });
        const port = String(portOf(id));
        monitors.add({ chardev: id });
        const client = `client of ${id}`;
        await add({ backend: 'socket', id: client, host: '127.0.0.1', port, 'tls-creds': 'client' });
        if (there) await until('it is let in', () => filename(id)?.startsWith('tcp:') === true);
        else await until('it is sent away', () => String(filename(client)).startsWith('disconnected:'));
        await bench.context.chardevs.remove(client);
      }
    });

    it('has no TLS where it is a UNIX socket', async () => {
      mkdirSync(bench.path('keys'));
      writeFileSync(bench.path('keys/keys.psk'), `qemu:${KEY}\n`);
      await bench.context.graph.objects.add(`tls-creds-psk,id=tls,dir=${bench.path('keys')},endpoint=server`);
      const words = { path: bench.path('s'), server: true, wait: false, 'tls-creds': 'tls' } as const;
      const error = await failureOf(add({ backend: 'socket', id: 's', ...words }));
      expect(error.reason).to.equal("'tls_creds' option is incompatible with 'unix' address type");
    });

    it('takes credentials of its own side only, an authorization with them only, and no nodelay=off', async () => {
      for (const [words, reason] of [
        [{ 'tls-creds': 'none' }, "No TLS credentials with id 'none'"],
        [{ 'tls-authz': 'none' }, "'tls_authz' option requires 'tls_creds' option"],
        [{ nodelay: false }, "'nodelay' cannot be off: TCP sends at once what is written"],
      ] as const) {
        const error = await failureOf(
          add({ backend: 'socket', id: 's', path: bench.path('s'), server: true, ...words }),
        );
        expect(error.reason).to.equal(reason);
      }
    });
  });
});

function readNow(fd: number): string {
  const buffer = Buffer.alloc(65536);
  try {
    return buffer.toString('latin1', 0, readSync(fd, buffer));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return '';
    throw error;
  }
}
