// The socket's file: whose it is is seen by whether somebody listens, and by the file itself, not by its name.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { lstatSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { listening, NbdProcess, nbdCommand, runNbd, type Server, until } from '../support/nbd-process.js';

const SIZE = 1 << 16;

describe('nbd: the socket file', () => {
  let folder: string;
  const servers: NbdProcess[] = [];
  const at = (name: string) => join(folder, name);
  const words = (socket: string) => ['-t', '-f', 'raw', '-k', at(socket), 'disk'];

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'diskwright-socket-'));
    writeFileSync(at('disk'), Buffer.alloc(SIZE));
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.stop('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  const start = async (socket: string, server: Server = 'diskwright') => {
    const started = await NbdProcess.start(server, at(socket), ['-t', '-r', '-f', 'raw', 'disk'], folder);
    servers.push(started);
    return started;
  };

  const refused = async (socket: string) => {
    const { code, stderr } = runNbd(await nbdCommand('diskwright'), words(socket), folder);
    expect({ code, stderr }).to.deep.equal({
      code: 1,
      stderr: `diskwright: Failed to bind socket to ${at(socket)}: Address already in use\n`,
    });
  };
  /** One that was killed leaves its file. */
  const leaveDead = async (socket: string) => {
    const dead = await start(socket);
    await dead.stop('SIGKILL');
    expect(lstatSync(at(socket)).isSocket()).to.equal(true);
  };

  for (const owner of ['diskwright', 'qemu-nbd'] as Server[]) {
    it(`is left to ${owner} that listens there`, async () => {
      const first = await start('s', owner);
      const { ino } = lstatSync(at('s'));
      await refused('s');
      expect(lstatSync(at('s')).ino).to.equal(ino);
      await listening(at('s'));
      await first.stop();
    });
  }

  it('is replaced where nobody listens any more', async () => {
    await leaveDead('s');
    const next = await start('s');
    expect(await next.stop()).to.equal(0);
    expect(lstatSync(at('s'), { throwIfNoEntry: false })).to.equal(undefined);
  });

  it('is not removed by a server whose file somebody has put another one over', async () => {
    const first = await start('s');
    const second = await start('t');
    renameSync(at('t'), at('s'));
    expect(await first.stop()).to.equal(0);
    await listening(at('s'));
    expect(await second.stop()).to.equal(0);
    expect(lstatSync(at('s')).isSocket(), 'by its name it is not the one that was made').to.equal(true);
  });

  it('is neither replaced nor followed where it is a link or no socket', async () => {
    await leaveDead('dead');
    symlinkSync('dead', at('link'));
    symlinkSync('nothing', at('dangling'));
    for (const name of ['link', 'dangling', 'disk']) {
      const before = lstatSync(at(name)).ino;
      await refused(name);
      expect(lstatSync(at(name)).ino).to.equal(before);
    }
    expect(lstatSync(at('dead')).isSocket()).to.equal(true);
  });

  it('goes to exactly one of several servers that start at once over a dead one', async () => {
    await leaveDead('s');
    const { program, words: command } = await nbdCommand('diskwright');
    const all: ChildProcess[] = [];
    for (let i = 0; i < 4; i++) {
      all.push(
        spawn(program, [...command, '-t', '-r', '-f', 'raw', '-k', at('s'), 'disk'], { cwd: folder, stdio: 'ignore' }),
      );
    }
    const ends = all.map((child) => once(child, 'close'));
    const running = () => all.filter((child) => child.exitCode === null && child.signalCode === null);
    await until('all but one have given up', () => running().length === 1);
    await listening(at('s'));
    running()[0].kill('SIGTERM');
    await Promise.all(ends);
    expect(all.map(({ exitCode }) => exitCode).sort()).to.deep.equal([0, 1, 1, 1]);
    expect(lstatSync(at('s'), { throwIfNoEntry: false })).to.equal(undefined);
  });
});
