// A serving process of its own, for tests that kill it, or that give its images a file system of their own.

import { type ChildProcess, fork, spawnSync } from 'node:child_process';
import { programOf } from '../../support/program.js';
import { endWithUs } from './children.js';

const PROGRAM = new URL('daemon-process.ts', import.meta.url);

export interface ServedImage {
  image: string;
  socket: string;
  name: string;
}

export type JobKind = 'stream' | 'commit' | 'mirror' | 'backup';

/** What the process is asked; it answers each with `true`, or the message of the error. */
export type DaemonRequest =
  | { serve: ServedImage[] }
  | { start: JobKind; disk: string; target: string }
  | { remove: string }
  | { copy: string; to: string }
  | 'shutdown'
  | 'end';

/** How a disk gets full. */
export type Tightness =
  /** `folder`, with the same files in it, is a file system of its own; only the process sees it. */
  | { kind: 'file-system'; folder: string; bytes: number }
  /** No file may grow beyond this. */
  | { kind: 'file-size'; bytes: number };

/** $1 is the folder, $2 its size in bytes, of which the ballast takes $3; what follows is run. */
const MOUNT = `
folder=$1; bytes=$2; ballast=$3; shift 3
mkdir "$folder.disk"
mount -t tmpfs -o size=$bytes none "$folder.disk"
cp "$folder"/* "$folder.disk"
head -c "$ballast" /dev/zero > "$folder.disk/ballast"
mount --bind "$folder.disk" "$folder"
exec "$@"
`;
const BALLAST_BYTES = 64 * 1024 ** 2;

/** Whether this process may mount things in a name space of its own. */
export function canMount(): boolean {
  return spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' }).status === 0;
}

function wrapper(tight: Tightness | undefined): string[] {
  if (tight === undefined) return [];
  if (tight.kind === 'file-size') return ['prlimit', `--fsize=${tight.bytes}:unlimited`];
  const { folder, bytes } = tight;
  return ['unshare', '-rm', 'sh', '-ec', MOUNT, 'sh', folder, `${bytes + BALLAST_BYTES}`, `${BALLAST_BYTES}`];
}

export class Daemon {
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;

  readonly #tight: Tightness | undefined;

  private constructor(tight: Tightness | undefined) {
    this.#tight = tight;
    const words = [...wrapper(tight), process.execPath];
    this.#process = fork(programOf(PROGRAM), [], {
      execPath: words[0],
      execArgv: words.slice(1),
      stdio: ['ignore', 2, 2, 'ipc'],
    });
    endWithUs(this.#process);
    this.#exited = new Promise((resolve) => this.#process.once('exit', () => resolve()));
  }

  static async start(images: readonly ServedImage[], tight?: Tightness): Promise<Daemon> {
    const daemon = new Daemon(tight);
    try {
      await daemon.#ask({ serve: [...images] });
    } catch (error) {
      await daemon.kill();
      throw error;
    }
    return daemon;
  }

  /** Starts a slow job on a disk. `target` is a new file that mirror and backup copy to. */
  startJob(start: JobKind, disk: string, target: string): Promise<void> {
    return this.#ask({ start, disk, target });
  }

  /** The disk is not full any more. */
  async relieve(): Promise<void> {
    if (this.#tight?.kind === 'file-system') await this.#ask({ remove: `${this.#tight.folder}/ballast` });
    else spawnSync('prlimit', ['--fsize=unlimited', '--pid', `${this.#process.pid}`]);
  }

  /** Ends its services and closes its images. */
  shutdown(): Promise<void> {
    return this.#ask('shutdown');
  }

  /** Copies a file that only the process sees. */
  copyOut(file: string, to: string): Promise<void> {
    return this.#ask({ copy: file, to });
  }

  async close(): Promise<void> {
    await this.#ask('end');
    await this.#exited;
  }

  /** Ends it between two instructions. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exited;
  }

  #ask(request: DaemonRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the serving process is gone'));
      this.#process.once('exit', gone);
      this.#process.once('message', (answer: true | string) => {
        this.#process.off('exit', gone);
        if (answer === true) resolve();
        else reject(new Error(answer));
      });
      this.#process.send(request);
    });
  }
}
