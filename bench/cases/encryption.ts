// Encryption: LUKS images converted beside qemu-img, and 4 KiB random reads and writes of them, operations a second, through the library and over NBD beside qemu-nbd;
// the cipher alone beside `openssl speed` on one core, bytes a second.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { type DataSet, once } from '../lib/data.js';
import { type Case, type Contender, command, type Sample } from '../lib/measure.js';
import { loaded, type ServerKind, startServer, warmCache } from '../lib/nbd.js';
import { worker } from '../lib/worker.js';

const SECRET = ['--object', 'secret,id=s,data=benchmark'];
const OPERATIONS = 100_000;
/** A request of a copy, and the blocks of `openssl speed`. */
const CIPHER_BYTES = 16384;

interface Image {
  name: 'luks' | 'qcow2-luks';
  path: string;
  /** For qemu-img. */
  text: string;
  /** For us. */
  options: object;
}

/** 1 GiB, all of it data. */
function image(data: DataSet, name: Image['name']): Image {
  const isLuks = name === 'luks';
  const format = isLuks ? 'luks' : 'qcow2';
  const key = isLuks ? 'key-secret' : 'encrypt.key-secret';
  const path = once(join(data.folder, `random.${name}`), (made) => {
    const own = isLuks ? `key-secret=s` : `encrypt.format=luks,encrypt.key-secret=s`;
    const time = isLuks ? 'iter-time=10' : 'encrypt.iter-time=10';
    const how = ['-f', 'raw', '-O', format, '-S', '0', '-o', `${own},${time}`];
    execFileSync('qemu-img', ['convert', ...SECRET, ...how, data.fsRaw, made]);
  });
  const file = { driver: 'file', filename: path };
  return {
    name,
    path,
    text: `driver=${format},${key}=s,file.filename=${path}`,
    options: isLuks
      ? { driver: 'luks', 'key-secret': 's', file }
      : { driver: 'qcow2', encrypt: { format: 'luks', 'key-secret': 's' }, file },
  };
}

function opensslSpeed(): Sample {
  const words = ['speed', '-evp', 'aes-256-xts', '-bytes', String(CIPHER_BYTES), '-seconds', '2', '-mr'];
  const text = execFileSync('openssl', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const rate = Number(/^\+F:.*:([\d.]+)$/m.exec(text)?.[1]);
  return { wall: 2, cpu: 2, peakMiB: 0, rate };
}

/** `convert` of the whole image to a raw one. */
function convert(data: DataSet, program: readonly string[], { text }: Image): () => Sample {
  return command(data.folder, [...program, 'convert', ...SECRET, '--image-opts', '-O', 'raw', text, 'plain.raw']);
}

/** Random requests of 4 KiB over NBD, from a server that decrypts. */
function served(data: DataSet, program: readonly string[], name: string, { path, text }: Image) {
  const kind: ServerKind = {
    name,
    words: (_, socket) => [...program, '-t', '-e', '0', '-k', socket, ...SECRET, '--image-opts', text],
    suits: () => true,
  };
  return (write: boolean, depth: number): Contender => ({
    name,
    prepare: () => warmCache(path),
    run: async () => {
      const server = await startServer(data.folder, kind, { path, format: 'raw', direct: false });
      try {
        const shape = { write, depth, sequential: false, blockBytes: 4096 };
        return loaded(data.folder, server, { ...shape, seconds: 1, client: 'nbdload' });
      } finally {
        await server.end();
      }
    },
  });
}

export function encryptionCases(data: DataSet, ours: readonly string[]): Case[] {
  const cases: Case[] = [];
  for (const name of ['luks', 'qcow2-luks'] as const) {
    const made = image(data, name);
    cases.push({
      name: `convert.${name}-to-raw`,
      bytes: 1 << 30,
      aim: 1,
      ours: { name: 'diskwright', run: convert(data, ours, made) },
      peers: [{ name: 'qemu-img', run: convert(data, ['qemu-img'], made) }],
    });
    for (const write of [false, true]) {
      for (const depth of [1, 32]) {
        const task = { options: made.options, depth, operations: OPERATIONS, write, direct: false };
        const label = `${name}.${write ? 'write4k' : 'read4k'}.d${depth}.hot`;
        // No tool of QEMU makes random requests of an image that needs a password (qemu-img bench takes no secret).
        cases.push({
          name: `random.${label}`,
          bytes: 0,
          ours: { name: 'diskwright', run: () => worker('random', task) },
          peers: [],
        });
        cases.push({
          name: `nbd.${label}`,
          bytes: 0,
          aim: 1,
          ours: served(data, [...ours, 'nbd'], 'diskwright', made)(write, depth),
          peers: [served(data, ['qemu-nbd', '--aio=io_uring'], 'qemu-nbd io_uring', made)(write, depth)],
        });
      }
    }
  }
  cases.push({
    name: 'cipher.aes-256-xts.encrypt',
    bytes: 0,
    aim: 0.9,
    ours: { name: 'diskwright', run: () => worker('cipher', { bytes: CIPHER_BYTES, seconds: 2 }) },
    peers: [{ name: 'openssl speed', run: opensslSpeed }],
  });
  return cases;
}
