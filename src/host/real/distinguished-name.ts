// The subject of a certificate as one line of text, the way GnuTLS writes it, since QEMU's access lists hold such lines:
//
//   C=GB,O=Example\, Inc.,CN=client.example.com
//
// RFC 4514, but for the order, which is the certificate's own.

/** Names of attributes. Others are written as their OID, with the value in hexadecimal. */
const NAMES: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.4': 'surName',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'street',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'title',
  '2.5.4.42': 'givenName',
  '2.5.4.43': 'initials',
  '2.5.4.44': 'generationQualifier',
  '2.5.4.46': 'dnQualifier',
  '2.5.4.65': 'pseudonym',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  '1.2.840.113549.1.9.1': 'EMAIL',
};

const SEQUENCE = 0x30;
const VERSION = 0xa0;

/** One element of DER. */
interface Element {
  tag: number;
  /** The value. */
  content: Buffer;
  /** Tag, length and value. */
  whole: Buffer;
}

/** The subject of a certificate. `der`: the certificate, which must have been verified. Throws where it is malformed. */
export function subjectOf(der: Buffer): string {
  const [body] = elements(elements(der)[0].content);
  const fields = elements(body.content);
  // version?, serial number, algorithm, issuer, validity, subject
  const subject = fields[fields[0].tag === VERSION ? 5 : 4];
  if (subject.tag !== SEQUENCE) throw new Error('not a certificate');
  return elements(subject.content)
    .map((set) => elements(set.content).map(attributeText).join('+'))
    .join(',');
}

function elements(der: Buffer): Element[] {
  const found: Element[] = [];
  for (let at = 0; at < der.length; ) {
    let length = der[at + 1];
    let start = at + 2;
    if (length > 0x80) {
      const digits = length & 0x7f;
      length = der.readUIntBE(start, digits);
      start += digits;
    }
    const end = start + length;
    if (!(end <= der.length)) throw new Error('not a certificate');
    found.push({ tag: der[at], content: der.subarray(start, end), whole: der.subarray(at, end) });
    at = end;
  }
  return found;
}

function attributeText({ content }: Element): string {
  const [type, value] = elements(content);
  const oid = oidText(type.content);
  const name = NAMES[oid];
  const text = name === undefined ? undefined : stringOf(value);
  return text === undefined ? `${name ?? oid}=#${value.whole.toString('hex')}` : `${name}=${escaped(text)}`;
}

function oidText(bytes: Buffer): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of bytes) {
    number = number * 128 + (byte & 0x7f);
    if (byte < 0x80) {
      numbers.push(number);
      number = 0;
    }
  }
  const first = Math.min(2, Math.floor(numbers[0] / 40));
  return [first, numbers[0] - first * 40, ...numbers.slice(1)].join('.');
}

/** The text of a string of any type that certificates have; undefined for another type. */
function stringOf({ tag, content }: Element): string | undefined {
  switch (tag) {
    case 12:
      return content.toString('utf8');
    case 18:
    case 19:
    case 20:
    case 22:
    case 26:
      return content.toString('latin1');
    case 30:
      return Buffer.from(content).swap16().toString('utf16le');
    default:
      return undefined;
  }
}

function escaped(text: string): string {
  return text
    .replace(/[,+"\\<>;]/g, '\\$&')
    .replace(/^[ #]/, '\\$&')
    .replace(/(?<!^) $/, '\\ ')
    .replaceAll('\0', '\\00');
}
