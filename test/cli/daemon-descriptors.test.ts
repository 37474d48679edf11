// Sockets of the daemon that it was started with: their numbers stand on its command line, and mean nothing to the clients of its monitor.

import { type ChildProcess, spawn } from 'node:child_process';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { listening } from '../support/nbd-process.js';
import { requirePeer } from '../support/peers.js';

/** Listens at its first argument, and becomes the command behind it: the socket is descriptor 3. Node cannot do either. */
const STARTER = `
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.execvp(sys.argv[2], sys.argv[2:])
`;

type Answer = { return?: object; error?: { desc: string } };

const fdAddress = (str: string): object => ({ type: 'fd', data: { str } });

describe('daemon: descriptors that it was started with', () => {
  let shop: Workshop;
  let child: ChildProcess | null = null;
  let socket: Socket | null = null;

  before(function () {
    requirePeer(this, 'python3');
  });
  beforeEach(async () => {
    shop = await Workshop.open();
  });
  afterEach(() => {
    socket?.destroy();
    child?.kill('SIGKILL');
    shop.remove();
  });

  it('are sockets by their numbers on the command line, and in no command of a client', async () => {
    const path = shop.path('qmp');
    const command = ['daemon', '--chardev', 'socket,id=m,fd=3,server=on,wait=off', '--monitor', 'm'];
    child = spawn('python3', ['-c', STARTER, path, process.execPath, shop.bundle, ...command], { stdio: 'inherit' });
    await listening(path);
    socket = connect(path);
    const lines = createInterface({ input: socket })[Symbol.asyncIterator]();
    const answer = async (): Promise<Answer> => JSON.parse((await lines.next()).value);
    expect(await answer()).to.have.property('QMP');
    const said = async (execute: string, args: object = {}): Promise<Answer> => {
      socket!.write(JSON.stringify({ execute, arguments: args }));
      return answer();
    };
    expect(await said('qmp_capabilities')).to.deep.equal({ return: {} });
    const words = "File descriptor named '3' has not been found";
    expect((await said('nbd-server-start', { addr: fdAddress('3') })).error?.desc).to.equal(words);
    const backend = { type: 'socket', data: { addr: fdAddress('3') } };
    expect((await said('chardev-add', { id: 'c', backend })).error?.desc).to.contain(words);
  });
});
