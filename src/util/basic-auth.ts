// Names and passwords for HTTP: RFC 7617. They are bytes, since a password need not be text.

/** `name:password`, a name in UTF-8. */
export function credentials(name: string, password: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${name}:`), password]);
}

/** Name and password of a URL; null where it has neither. An escape that is none is meant as it stands. */
export function credentialsOfUrl({ username, password }: URL): Uint8Array | null {
  if (username === '' && password === '') return null;
  return Buffer.concat([unescaped(username), Buffer.from(':'), unescaped(password)]);
}

/** The bytes of a part of a URL, which is ASCII. */
function unescaped(part: string): Buffer {
  const bytes = part.replace(/%([0-9a-f]{2})/gi, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return Buffer.from(bytes, 'latin1');
}

/** The value of `Authorization`, or of `Proxy-Authorization`. */
export function basic(known: Uint8Array): string {
  return `Basic ${Buffer.from(known).toString('base64')}`;
}
