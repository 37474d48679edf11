// The two programs that use an image in turn, with the same verbs.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { ImageShape } from './shape.js';
import type { Step } from './steps.js';

/** An image of the matrix, by the names of its files. */
export interface MatrixImage {
  shape: ImageShape;
  /** Paths. */
  path: string;
  dataPath: string | null;
  backing: string | null;
}

export const PASSWORD = 'a password for tests';
export const SECRET_ID = 'key';
export const SECRET = ['--object', `secret,id=${SECRET_ID},data=${PASSWORD}`];

const execute = promisify(execFile);

export interface SnapshotLine {
  id: string;
  name: string;
}

export interface Side {
  make(image: MatrixImage): Promise<void>;
  change(image: MatrixImage, steps: readonly Step[]): Promise<void>;
  /** The whole disk, or a snapshot's. */
  content(image: MatrixImage, snapshot?: string): Promise<Buffer>;
  /** Corruptions and errors of a check; leaks are no fault, but are counted. */
  check(image: MatrixImage): Promise<{ faults: number; leaks: number }>;
  /** QAPI `MapEntry` of the whole disk. */
  map(image: MatrixImage): Promise<object[]>;
  snapshots(image: MatrixImage): Promise<SnapshotLine[]>;
  takeSnapshot(image: MatrixImage, name: string): Promise<void>;
  applySnapshot(image: MatrixImage, name: string): Promise<void>;
  deleteSnapshot(image: MatrixImage, name: string): Promise<void>;
  /** Runs the verb `bitmap` with these actions. */
  workBitmap(image: MatrixImage, name: string, actions: readonly string[]): Promise<void>;
  /** SHA-256 of a bitmap's bits. */
  bitmapDigest(image: MatrixImage, name: string): Promise<string>;
}

/** What the program prints. Rejects for an exit code that is not among `codes`. */
export async function run(program: string, words: readonly string[], codes: readonly number[] = [0]): Promise<string> {
  try {
    const { stdout, stderr } = await execute(program, words, { maxBuffer: 1 << 26 });
    return stdout + stderr;
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    if (codes.includes(code)) return stdout;
    throw new Error(`${program} ${words.join(' ')} ended with ${code}: ${stderr}`);
  }
}

/** The options that open the image, as `--image-opts` has them. */
export function openingWords({ path, shape }: MatrixImage): string {
  const crypt = shape.encryption === 'none' ? '' : `,encrypt.format=luks,encrypt.key-secret=${SECRET_ID}`;
  return `driver=qcow2,file.filename=${path}${crypt}`;
}

/** The words of the verb `bitmap`, in both command lines. */
export function bitmapWords(image: MatrixImage, name: string, actions: readonly string[]): string[] {
  return ['bitmap', ...actions, ...SECRET, '--image-opts', openingWords(image), name];
}

/** The options of `create -o` that the shape asks for. */
export function creationWords({ shape, dataPath, backing }: MatrixImage): string {
  const { version, compression, encryption } = shape;
  const words = [
    `compat=${version === 2 ? '0.10' : '1.1'}`,
    `cluster_size=${shape.clusterBytes}`,
    version === 3 && `refcount_bits=${shape.refcountBits}`,
    shape.extendedL2 && 'extended_l2=on',
    compression === 'zstd' && 'compression_type=zstd',
    encryption !== 'none' && `encrypt.format=luks,encrypt.key-secret=${SECRET_ID},encrypt.iter-time=10`,
    dataPath !== null && `data_file=${dataPath}`,
    shape.dataFile === 'raw' && 'data_file_raw=on',
    shape.lazyRefcounts && 'lazy_refcounts=on',
    shape.preallocation !== 'off' && `preallocation=${shape.preallocation}`,
    backing !== null && `backing_file=${backing},backing_fmt=qcow2`,
  ];
  return words.filter((word) => word !== false).join(',');
}
