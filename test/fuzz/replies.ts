// Is what a server sends well-formed, whatever it was sent? Follows greeting and option replies, and the chunks of a session with
// structured or extended replies, which can be divided without knowing the requests. Simple replies cannot, and end the look.
//
//   greeting -> option replies ... -> chunks ...
//                     \-> export information of EXPORT_NAME

import {
  Chunk,
  EXTENDED_REPLY_MAGIC,
  Option,
  OptionReply,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from '../../src/wire/nbd/constants.js';

const GREETING = 'NBDMAGICIHAVEOPT';
const REPLY_MAGIC = 0x3e889045565a9n;
/** More than any server has to say in one piece: 32 MiB of data and its header. */
const MAX_CHUNK_BYTES = (32 << 20) + 64;
const MAX_OPTION_REPLY_BYTES = 65536;

export class ReplyChecker {
  #rest = Buffer.alloc(0);
  /** Bytes of the message under way that are still to come and not looked at. */
  #skip = 0;
  #state: 'greeting' | 'options' | 'chunks' | 'unknown' = 'greeting';
  #structured = false;
  #extended = false;

  /** Throws at the first thing that no server may say. */
  take(data: Buffer): void {
    if (this.#state === 'unknown') return;
    const skipped = Math.min(this.#skip, data.length);
    this.#skip -= skipped;
    if (skipped === data.length) return;
    const bytes = Buffer.concat([this.#rest, data.subarray(skipped)]);
    let at = 0;
    for (;;) {
      const length = this.#message(bytes.subarray(at));
      if (length === 0 || this.#state === ('unknown' as string)) break;
      at += length;
      if (at > bytes.length) {
        this.#skip = at - bytes.length;
        at = bytes.length;
        break;
      }
    }
    this.#rest = Buffer.from(bytes.subarray(at));
  }

  /** Length of the message that `bytes` begin with; 0 where they do not say it yet. */
  #message(bytes: Buffer): number {
    if (this.#state === 'greeting') {
      if (bytes.length < 18) return 0;
      if (bytes.toString('latin1', 0, 16) !== GREETING) throw new Error('the greeting is none');
      this.#state = 'options';
      return 18;
    }
    if (this.#state === 'options') return this.#optionReply(bytes);
    return this.#chunk(bytes);
  }

  #optionReply(bytes: Buffer): number {
    if (bytes.length < 8) return 0;
    if (bytes.readBigUInt64BE() !== REPLY_MAGIC) {
      this.#state = 'unknown';
      return 0;
    }
    if (bytes.length < 20) return 0;
    const [code, type, length] = [bytes.readUInt32BE(8), bytes.readUInt32BE(12), bytes.readUInt32BE(16)];
    if (length > MAX_OPTION_REPLY_BYTES) throw new Error(`a reply of ${length} bytes to option ${code}`);
    if (type === OptionReply.ack) {
      if (length !== 0) throw new Error(`an acknowledgement of ${length} bytes to option ${code}`);
      // What follows is TLS.
      if (code === Option.startTls) this.#state = 'unknown';
      if (code === Option.structuredReply) this.#structured = true;
      if (code === Option.extendedHeaders) this.#extended = true;
      if (code === Option.go) this.#state = this.#structured || this.#extended ? 'chunks' : 'unknown';
    }
    return 20 + length;
  }

  #chunk(bytes: Buffer): number {
    const headerBytes = this.#extended ? 32 : 20;
    if (bytes.length < 16) return 0;
    const magic = bytes.readUInt32BE();
    if (magic === SIMPLE_REPLY_MAGIC && !this.#extended) return 16;
    if (magic !== (this.#extended ? EXTENDED_REPLY_MAGIC : STRUCTURED_REPLY_MAGIC)) {
      throw new Error(`magic ${magic.toString(16)} where a reply begins`);
    }
    if (bytes.length < headerBytes) return 0;
    const [flags, type] = [bytes.readUInt16BE(4), bytes.readUInt16BE(6)];
    const length = this.#extended ? Number(bytes.readBigUInt64BE(24)) : bytes.readUInt32BE(16);
    if (flags > 1) throw new Error(`chunk flags ${flags}`);
    if (length > MAX_CHUNK_BYTES) throw new Error(`a chunk of ${length} bytes`);
    this.#checkLength(type, length);
    return headerBytes + length;
  }

  #checkLength(type: number, length: number): void {
    const fits =
      (type === Chunk.none && length === 0) ||
      (type === Chunk.offsetData && length >= 9) ||
      (type === Chunk.offsetHole && length === 12) ||
      (type === Chunk.blockStatus && length >= 12 && length % 8 === 4) ||
      (type === Chunk.blockStatusExtended && length >= 24 && length % 16 === 8) ||
      (type === Chunk.error && length >= 6) ||
      (type === Chunk.errorOffset && length >= 14);
    if (!fits) throw new Error(`a chunk of type ${type} and ${length} bytes`);
  }
}
