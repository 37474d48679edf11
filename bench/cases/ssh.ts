// Images on another machine: an sshd on loopback, its files in the page cache, beside qemu-img with its ssh driver. Whole commands, raw images, both ways.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const GIB = 1 << 30;
const WAIT_MS = 20;
const START_LIMIT_MS = 10_000;

const found = (line: string) => spawnSync('sh', ['-c', line], { stdio: 'ignore' }).status === 0;
const isHere = found(
  'PATH="$PATH:/usr/sbin"; command -v sshd && command -v ssh-agent && ls /usr/lib/*/qemu/block-ssh.so',
);

interface Server {
  port: number;
  agent: string;
}

let started: Promise<Server> | null = null;

/** Starts the server and an agent with a key for it, once; they end with this process. */
function serve(folder: string): Promise<Server> {
  started ??= start(join(folder, 'sshd'));
  return started;
}

async function start(own: string): Promise<Server> {
  rmSync(own, { recursive: true, force: true });
  mkdirSync(own, { recursive: true });
  for (const name of ['host', 'user']) must('ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', join(own, name));
  const port = await freePort();
  if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
  writeFileSync(
    join(own, 'config'),
    `Port ${port}\nListenAddress 127.0.0.1\nHostKey ${own}/host\nAuthorizedKeysFile ${own}/user.pub\nPidFile ${own}/pid
StrictModes no\nUsePAM no\nPasswordAuthentication no\nSubsystem sftp internal-sftp\n`,
  );
  const agent = join(own, 'agent');
  run('sh', '-c', `PATH="$PATH:/usr/sbin"; exec "$(command -v sshd)" -D -e -f "$1"`, 'sh', join(own, 'config'));
  run('ssh-agent', '-D', '-a', agent);
  const deadline = performance.now() + START_LIMIT_MS;
  const env = { ...process.env, SSH_AUTH_SOCK: agent };
  const isReady = () =>
    spawnSync('ssh-add', ['-q', join(own, 'user')], { env, stdio: 'ignore' }).status === 0 &&
    spawnSync('ssh-keyscan', ['-T', '2', '-p', String(port), '127.0.0.1'], { encoding: 'utf8' }).stdout !== '';
  while (!isReady()) {
    if (performance.now() > deadline) throw new Error(`sshd does not listen at port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
  }
  return { port, agent };
}

function run(program: string, ...words: string[]): void {
  const child = spawn(program, words, { stdio: 'ignore' });
  child.unref();
  process.on('exit', () => child.kill());
}

function must(program: string, ...words: string[]): void {
  const { status, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export function sshCases(data: DataSet, ours: readonly string[]): Case[] {
  if (!isHere) return [];
  const target = join(data.folder, 'out.img');
  const prepare = () => rmSync(target, { force: true });
  const url = (path: string) => (port: number) => `ssh://127.0.0.1:${port}${path}?host_key_check=no`;
  type Word = string | ((port: number) => string);
  /** A conversion, in whose words a name waits for the port. */
  const convert = (program: readonly string[], from: Word, to: Word) => {
    let server: Server | null = null;
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
