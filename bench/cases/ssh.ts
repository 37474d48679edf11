// Images on another machine: an sshd on loopback, its files in the page cache, beside qemu-img with its ssh driver. Whole commands, raw images, both ways.

import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { Sshd } from '../../test/support/sshd.js';
import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const GIB = 1 << 30;

const found = (line: string) => spawnSync('sh', ['-c', line], { stdio: 'ignore' }).status === 0;
const isHere = found(
  'PATH="$PATH:/usr/sbin"; command -v sshd && command -v ssh-agent && ls /usr/lib/*/qemu/block-ssh.so',
);

let started: Promise<Sshd> | null = null;

/** Starts the server and an agent with a key for it, once; they end with this process. */
function serve(folder: string): Promise<Sshd> {
  started ??= start(join(folder, 'sshd'));
  return started;
}

async function start(own: string): Promise<Sshd> {
  rmSync(own, { recursive: true, force: true });
  const server = await Sshd.start(own);
  server.stopAtExit();
  return server;
}

export function sshCases(data: DataSet, ours: readonly string[]): Case[] {
  if (!isHere) return [];
  const target = join(data.folder, 'out.img');
  const prepare = () => rmSync(target, { force: true });
  const url = (path: string) => (port: number) => `ssh://127.0.0.1:${port}${path}?host_key_check=no`;
  type Word = string | ((port: number) => string);
  /** A conversion, in whose words a name waits for the port. */
  const convert = (program: readonly string[], from: Word, to: Word) => {
    let server: Sshd | null = null;
    const words = [...program, 'convert', '-f', 'raw', '-O', 'raw', from, to];
    const once = command(data.folder, () => {
      const { port, agent } = server!;
      return ['env', `SSH_AUTH_SOCK=${agent}`, ...words.map((word) => (typeof word === 'string' ? word : word(port)))];
    });
    return async () => {
      server = await serve(data.folder);
      return once();
    };
  };
  const both = (name: string, from: Word, to: Word): Case => ({
    name,
    bytes: GIB,
    aim: 1,
    ours: { name: 'diskwright', prepare, run: convert(ours, from, to) },
    peers: [{ name: 'qemu-img', prepare, run: convert(['qemu-img'], from, to) }],
  });
  return [both('ssh.read', url(data.fsRaw), target), both('ssh.write', data.fsRaw, url(target))];
}
