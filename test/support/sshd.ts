// An sshd of a test's own, on a free port of this host, with keys of its own, and an agent that holds the user's.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { until } from './nbd-process.js';

export type HostKeyType = 'ed25519' | 'ecdsa' | 'rsa';

export interface SshdOptions {
  hostKeys?: readonly HostKeyType[];
  /** Words for sshd's own SFTP server: `-P fsync`, `-R`. */
  sftpWords?: string;
}

export class Sshd {
  readonly port: number;
  /** A folder that the server shows, as the whole file system is. */
  readonly files: string;
  /** A home folder, for HOME. */
  readonly home: string;
  readonly agent: string;
  readonly #folder: string;
  readonly #children: ChildProcess[] = [];

  private constructor(folder: string, port: number) {
    this.#folder = folder;
    this.port = port;
    this.files = join(folder, 'files');
    this.home = join(folder, 'home');
    this.agent = join(folder, 'agent');
  }

  /** `folder` exists, and is empty. Further servers may use the keys of `like`. */
  static async start(
    folder: string,
    { hostKeys = ['ed25519'], sftpWords = '' }: SshdOptions = {},
    like?: Sshd,
  ): Promise<Sshd> {
    const server = new Sshd(folder, await freePort());
    mkdirSync(server.files, { recursive: true });
    mkdirSync(join(server.home, '.ssh'), { recursive: true, mode: 0o700 });
    for (const type of hostKeys) makeKey(type, server.#hostKey(type));
    makeKey('ed25519', server.userKey);
    const authorized = readFileSync(`${(like ?? server).userKey}.pub`);
    writeFileSync(join(folder, 'authorized'), authorized);
    // It is for sshd as root alone, and empty there.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
    const lines = [
      `Port ${server.port}`,
      'ListenAddress 127.0.0.1',
      ...hostKeys.map((type) => `HostKey ${server.#hostKey(type)}`),
      `AuthorizedKeysFile ${join(folder, 'authorized')}`,
      `PidFile ${join(folder, 'pid')}`,
      // A test's folder is below one that everybody may write to.
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'KbdInteractiveAuthentication no',
      'MaxStartups 100',
      `Subsystem sftp internal-sftp ${sftpWords}`,
    ];
    writeFileSync(join(folder, 'config'), `${lines.join('\n')}\n`);
    await server.#run();
    return server;
  }

  /** Of the user, in its home folder; another name than ssh looks for, so that only the agent offers it. */
  get userKey(): string {
    return join(this.home, 'user-key');
  }

  #hostKey(type: HostKeyType): string {
    return join(this.#folder, `host-${type}`);
  }

  /** `ssh-ed25519 AAAA...` */
  publicKey(type: HostKeyType = 'ed25519'): string {
    return readFileSync(`${this.#hostKey(type)}.pub`, 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ');
  }

  /** The name of a file in `files`, with a query. */
  url(name: string, query = '?host_key_check=no', port = this.port): string {
    return `ssh://127.0.0.1:${port}${this.files}/${name}${query}`;
  }

  /** Variables for who logs in. */
  get env(): NodeJS.ProcessEnv {
    return { HOME: this.home, SSH_AUTH_SOCK: this.agent };
  }

  /** Writes the file of known servers. */
  setKnown(text: string): void {
    writeFileSync(join(this.home, '.ssh', 'known_hosts'), text);
  }

  /** Puts the user's key, with a passphrase or without, where ssh looks for it. */
  installKey(passphrase: string): string {
    const path = join(this.home, '.ssh', 'id_ed25519');
    writeFileSync(path, readFileSync(this.userKey), { mode: 0o600 });
    chmodSync(path, 0o600);
    if (passphrase !== '') must('ssh-keygen', '-q', '-p', '-N', passphrase, '-f', path);
    return path;
  }

  async #run(): Promise<void> {
    // sshd wants to be called by its whole path.
    const sshd = must('sh', '-c', 'PATH="$PATH:/usr/sbin"; command -v sshd').trim();
    this.#start(sshd, '-D', '-e', '-f', join(this.#folder, 'config'));
    this.#start('ssh-agent', '-D', '-a', this.agent);
    await until('the agent has the key', () => {
      const env = { ...process.env, SSH_AUTH_SOCK: this.agent };
      return spawnSync('ssh-add', ['-q', this.userKey], { env, stdio: 'ignore' }).status === 0;
    });
    await until('sshd answers', () => {
      const words = ['-T', '5', '-p', String(this.port), '127.0.0.1'];
      const { status, stdout } = spawnSync('ssh-keyscan', words, { encoding: 'utf8' });
      return status === 0 && stdout !== '';
    });
  }

  #start(program: string, ...words: string[]): void {
    this.#children.push(spawn(program, words, { stdio: 'ignore' }));
  }

  /** Lets this process end without `stop`, which ends the server and the agent then. */
  stopAtExit(): void {
    for (const child of this.#children) child.unref();
    process.on('exit', () => this.#kill());
  }

  #kill(): void {
    for (const child of this.#children) child.kill();
  }

  async stop(): Promise<void> {
    const ends = this.#children.map((child) => (child.exitCode === null ? once(child, 'exit') : null));
    this.#kill();
    await Promise.all(ends);
  }
}

function makeKey(type: HostKeyType, path: string): void {
  const words = type === 'rsa' ? ['-b', '2048'] : [];
  must('ssh-keygen', '-q', '-t', type, ...words, '-N', '', '-f', path);
}

function must(program: string, ...words: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program}: ${stderr}`);
  return stdout;
}
