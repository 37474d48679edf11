// The text of a JSON string that came over a monitor: escapes, and UTF-8 in which U+0000 may be written as C0 80 (modified UTF-8).

/** A message that is no JSON; the text is that of the `desc` in its answer. */
export class JsonError extends Error {}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** Between its quotes. Throws `JsonError`. */
export function decodeString(bytes: Uint8Array): string {
  const end = bytes.length - 1;
  let plain = 1;
  while (plain < end && bytes[plain] < 0x80 && bytes[plain] !== 0x5c) plain++;
  let text = Buffer.from(bytes.buffer, bytes.byteOffset + 1, plain - 1).toString('latin1');
  for (let at = plain; at < end; ) {
    const byte = bytes[at];
    if (byte === 0x5c) {
      const [piece, next] = decodeEscape(bytes, at);
      text += piece;
      at = next;
    } else if (byte < 0x80) {
      text += String.fromCharCode(byte);
      at++;
    } else {
      const [point, next] = decodeSequence(bytes, at, end);
      text += String.fromCodePoint(point);
      at = next;
    }
  }
  return text;
}

/** The escape at `at`: its text, and where the next character begins. */
function decodeEscape(bytes: Uint8Array, at: number): [string, number] {
  const letter = String.fromCharCode(bytes[at + 1]);
  if (letter !== 'u') {
    const plain = ESCAPES[letter];
    if (plain === undefined) throw new JsonError('JSON parse error, invalid escape sequence in string');
    return [plain, at + 2];
  }
  const first = hexAt(bytes, at + 2);
  if (first === null) throw noCharacter(bytes, at);
  if (first < 0xd800 || first > 0xdfff) {
    if (!isCharacter(first)) throw noCharacter(bytes, at);
    return [String.fromCharCode(first), at + 6];
  }
  const paired = bytes[at + 6] === 0x5c && bytes[at + 7] === 0x75 ? hexAt(bytes, at + 8) : null;
  if (first > 0xdbff || paired === null || paired < 0xdc00 || paired > 0xdfff) throw noCharacter(bytes, at);
  const point = 0x10000 + (first - 0xd800) * 0x400 + (paired - 0xdc00);
  if (!isCharacter(point)) throw noCharacter(bytes, at);
  return [String.fromCodePoint(point), at + 12];
}

function hexAt(bytes: Uint8Array, at: number): number | null {
  const digits = String.fromCharCode(...bytes.subarray(at, at + 4));
  return /^[0-9a-f]{4}$/i.test(digits) ? Number.parseInt(digits, 16) : null;
}

function noCharacter(bytes: Uint8Array, at: number): JsonError {
  const shown = Buffer.from(bytes.subarray(at, at + 6)).toString();
  return new JsonError(`JSON parse error, ${shown} is not a valid Unicode character`);
}

/** The code point of the UTF-8 sequence at `at`, and where the next character begins. */
function decodeSequence(bytes: Uint8Array, at: number, end: number): [number, number] {
  const first = bytes[at];
  const more =
    first >= 0xf0 && first <= 0xf7 ? 3 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xc0 && first < 0xe0 ? 1 : 0;
  let point = first & (0x3f >> more);
  for (let i = 1; i <= more; i++) {
    const byte = at + i < end ? bytes[at + i] : 0;
    if ((byte & 0xc0) !== 0x80) throw badUtf8();
    point = point * 64 + (byte & 0x3f);
  }
  const shortest = [0x80, 0x80, 0x800, 0x10000][more];
  const zero = more === 1 && point === 0;
  if (more === 0 || (point < shortest && !zero) || !isCharacter(point)) throw badUtf8();
  return [point, at + more + 1];
}

function badUtf8(): JsonError {
  return new JsonError('JSON parse error, invalid UTF-8 sequence in string');
}

/** No surrogate, no noncharacter, not beyond Unicode. */
function isCharacter(point: number): boolean {
  const surrogate = point >= 0xd800 && point <= 0xdfff;
  const noncharacter = (point >= 0xfdd0 && point <= 0xfdef) || (point & 0xfffe) === 0xfffe;
  return point <= 0x10ffff && !surrogate && !noncharacter;
}
