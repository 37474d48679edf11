// An independent reader of encrypted qcow2 images, written from the specifications for the simulation's sake: it shares no code with the drivers, and has its
// ciphers from node.

import { createDecipheriv, createHash, pbkdf2Sync } from 'node:crypto';

/** Of all encrypted images of the simulation. */
export const PASSWORD = 'the password of the simulation';

const SECTOR = 512;

/** Decrypts `data`, which lies at `host` and is the content of the disk at `guest`. */
export type Decrypt = (data: Uint8Array, host: number, guest: number) => Uint8Array;

/** `pointer`: the data of the header extension, null where there is none. Throws for what the password does not open. */
export function decryptorOf(file: Uint8Array, method: number, pointer: Uint8Array | null): Decrypt {
  if (method === 1) {
    const key = Buffer.alloc(16);
    key.set(Buffer.from(PASSWORD).subarray(0, 16));
    return (data, _host, guest) => sectors(data, guest, 'aes-128-cbc', key, plain64);
  }
  if (method !== 2 || pointer === null) throw new Error(`encryption method ${method}`);
  const view = Buffer.from(pointer);
  const start = Number(view.readBigUInt64BE(0));
  return luks(Buffer.from(file.subarray(start, start + Number(view.readBigUInt64BE(8)))));
}

function sectors(
  data: Uint8Array,
  offset: number,
  name: string,
  key: Uint8Array,
  vectorOf: (sector: number) => Buffer,
): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at += SECTOR) {
    const cipher = createDecipheriv(name, key, vectorOf((offset + at) / SECTOR)).setAutoPadding(false);
    out.set(cipher.update(data.subarray(at, at + SECTOR)), at);
  }
  return out;
}

function plain64(sector: number): Buffer {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(sector));
  return vector;
}

/** By digest: deriving it takes a while. */
const keys = new Map<string, Buffer>();

function luks(header: Buffer): Decrypt {
  const text = (at: number): string => header.toString('latin1', at, header.indexOf(0, at));
  if (text(8) !== 'aes' || text(40) !== 'xts-plain64') throw new Error(`LUKS: ${text(8)}, ${text(40)}`);
  const bytes = header.readUInt32BE(108);
  const name = `aes-${bytes * 4}-xts`;
  const digest = header.subarray(112, 132);
  const known = keys.get(digest.toString('hex'));
  const key = known ?? unlock(header, text(72), bytes, name);
  keys.set(digest.toString('hex'), key);
  return (data, host) => sectors(data, host, name, key, plain64);
}

function unlock(header: Buffer, hash: string, bytes: number, name: string): Buffer {
  const salt = (at: number): Buffer => header.subarray(at, at + 32);
  for (let slot = 208; slot < 592; slot += 48) {
    if (header.readUInt32BE(slot) !== 0xac71f3) continue;
    const slotKey = pbkdf2Sync(PASSWORD, salt(slot + 8), header.readUInt32BE(slot + 4), bytes, hash);
    const material = header.readUInt32BE(slot + 40) * SECTOR;
    const stripes = sectors(header.subarray(material, material + bytes * 4000), 0, name, slotKey, plain64);
    let block = Buffer.alloc(bytes);
    for (let i = 0; i < 4000; i++) {
      block = Buffer.from(block.map((byte, at) => byte ^ stripes[i * bytes + at]));
      if (i < 3999) block = diffused(block, hash);
    }
    const digest = pbkdf2Sync(block, salt(132), header.readUInt32BE(164), 20, hash);
    if (digest.equals(header.subarray(112, 132))) return block;
  }
  throw new Error('the password opens no key slot');
}

function diffused(block: Buffer, hash: string): Buffer<ArrayBuffer> {
  const parts: Buffer[] = [];
  for (let at = 0, index = 0, step = 0; at < block.length; at += step, index++) {
    const number = Buffer.alloc(4);
    number.writeUInt32BE(index);
    step = createHash(hash).digest().length;
    const piece = block.subarray(at, at + step);
    parts.push(createHash(hash).update(number).update(piece).digest().subarray(0, piece.length));
  }
  return Buffer.concat(parts);
}
