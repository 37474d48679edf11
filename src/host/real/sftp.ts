// An SFTP session of ssh2, and files that are open in it.

import type { Socket } from 'node:net';
import { BlockError, type BlockErrorCode } from '../../util/errors.js';
import type { SftpAttributes, SftpFile, SftpOpenMode, SftpSession } from '../ssh.js';
import { lostError } from './ssh-errors.js';
import type { Ssh2Client, Ssh2Sftp, SshFailure } from './ssh2.js';

/** How long a server may take to end the connection. */
const END_MS = 1000;
/** SSH_FXF_* of draft-ietf-secsh-filexfer-02, section 6.3. */
const FLAGS: Readonly<Record<SftpOpenMode, number>> = { read: 0x1, write: 0x3, create: 0x3 | 0x8 | 0x10 };
/** As of files that QEMU makes there. */
const NEW_FILE_MODE = 0o644;
/** Bits of the mode that say the kind of a file. */
const KIND_MASK = 0o170000;
const KIND_FILE = 0o100000;

/** SSH_FX_* of section 7; the rest is `io`. */
const CODES: Readonly<Record<number, readonly [BlockErrorCode, errno: string]>> = {
  2: ['not-found', 'ENOENT'],
  3: ['permission', 'EACCES'],
  8: ['unsupported', 'ENOTSUP'],
};

/** Calls that are under way: what ssh2 answers to, once the connection is lost, is not relied on. */
type Fail = (error: BlockError) => void;

export class RealSftp implements SftpSession {
  lost: BlockError | null = null;
  readonly #client: Ssh2Client;
  readonly #sftp: Ssh2Sftp;
  readonly #socket: Socket;
  readonly #server: string;
  readonly #underWay = new Set<Fail>();
  #gathers = false;
  readonly #endGathering = (): void => {
    this.#gathers = false;
    this.#socket.uncork();
  };

  constructor(client: Ssh2Client, sftp: Ssh2Sftp, socket: Socket, server: string) {
    this.#client = client;
    this.#sftp = sftp;
    this.#socket = socket;
    this.#server = server;
    // What ssh2 sends because something has come: before it hears of that.
    socket.prependListener('data', () => this.#gather());
    client.on('error', (error) => this.#lose(error));
    client.on('close', () => this.#lose(new Error('the server closed it')));
    sftp.on('error', (error) => this.#lose(error));
    // The server's part for files has ended, whatever becomes of the connection.
    sftp.on('end', () => this.#lose(new Error('the server closed it')));
    sftp.on('close', () => this.#lose(new Error('the server closed it')));
  }

  async open(path: string, mode: SftpOpenMode): Promise<SftpFile> {
    const attributes = mode === 'create' ? { mode: NEW_FILE_MODE } : {};
    const handle = await this.#call<Buffer>((done) =>
      this.#sftp.open(path, FLAGS[mode], attributes, (error, opened) => done(error, opened)),
    );
    return {
      syncs: this.#syncs,
      attributes: () => this.#attributes(handle),
      read: (offset, buffer) =>
        this.#call((done) => this.#sftp.read(handle, bufferOf(buffer), 0, buffer.length, offset, done)),
      write: (offset, buffer) =>
        this.#call((done) => this.#sftp.write(handle, bufferOf(buffer), 0, buffer.length, offset, done)),
      sync: () => this.#call((done) => this.#sftp.ext_openssh_fsync(handle, done)),
      truncate: (size) => this.#call((done) => this.#sftp.fsetstat(handle, { size }, done)),
    };
  }

  get #syncs(): boolean {
    // ssh2 has no other way to ask for it.
    const { _extensions: known } = this.#sftp as unknown as { _extensions?: Readonly<Record<string, string>> };
    return known?.['fsync@openssh.com'] === '1';
  }

  async #attributes(handle: Buffer): Promise<SftpAttributes> {
    const { size, mtime, mode } = await this.#call<{ size?: number; mtime?: number; mode?: number }>((done) =>
      this.#sftp.fstat(handle, done),
    );
    if (size === undefined || !Number.isSafeInteger(size)) {
      throw new BlockError('unsupported', 'the server does not say how large the file is', { operation: 'open' });
    }
    if (mode !== undefined && (mode & KIND_MASK) !== 0 && (mode & KIND_MASK) !== KIND_FILE) {
      throw new BlockError('invalid-argument', 'it is not a regular file', { operation: 'open' });
    }
    return { size, modified: mtime ?? 0 };
  }

  abort(error: BlockError): void {
    this.#lose(error);
  }

  async close(): Promise<void> {
    if (this.#socket.destroyed) return;
    this.lost ??= new BlockError('closed', `the connection to ${this.#server} is closed`);
    this.#failAll(this.lost);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#socket.destroy(), END_MS);
      this.#socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#client.end();
    });
  }

  /** ssh2 writes each packet in four parts: what is sent in one turn goes to the system at once. */
  #gather(): void {
    if (this.#gathers) return;
    this.#gathers = true;
    this.#socket.cork();
    process.nextTick(this.#endGathering);
  }

  /** Runs a call of ssh2's. Rejects with the server's reason, and where the connection is lost. */
  #call<T>(run: (done: (error?: SshFailure | null, result?: T) => void) => void): Promise<T> {
    if (this.lost !== null) return Promise.reject(this.lost);
    return new Promise<T>((resolve, reject) => {
      const fail: Fail = (error) => reject(error);
      this.#underWay.add(fail);
      this.#gather();
      run((error, result) => {
        if (!this.#underWay.delete(fail)) return;
        if (error === undefined || error === null) resolve(result as T);
        else if (typeof error.code === 'number') reject(answerError(error, error.code));
        else {
          reject(lostError(error, this.#server));
          this.#lose(error);
        }
      });
    });
  }

  #lose(error: Error): void {
    if (this.lost !== null) return;
    this.lost = lostError(error, this.#server);
    // Nothing comes any more that could be written to memory which others use by then.
    this.#socket.destroy();
    this.#failAll(this.lost);
  }

  #failAll(error: BlockError): void {
    const failing = [...this.#underWay];
    this.#underWay.clear();
    for (const fail of failing) fail(error);
  }
}

function answerError(error: SshFailure, status: number): BlockError {
  const [code, errno] = CODES[status] ?? ['io', 'EIO'];
  return new BlockError(code, `${error.message} (sftp error code: ${status})`, { errno, cause: error });
}

function bufferOf({ buffer, byteOffset, byteLength }: Uint8Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}
