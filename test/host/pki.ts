// Certificates for tests, made with the `openssl` command.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  cert: Uint8Array;
  key: Uint8Array;
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** A certificate authority of its own, in a folder of its own. */
export class Authority {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-pki-'));
  readonly ca: Uint8Array;

  constructor(name = 'Test CA') {
    this.#openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      '-keyout',
      'ca.key',
      '-out',
      'ca.pem',
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
    );
    this.ca = readFileSync(join(this.folder, 'ca.pem'));
  }

  /** `days` may be negative: it has expired then. */
  issue(subject: string, extensions: string, days = 2): Certificate {
    writeFileSync(join(this.folder, 'extensions'), extensions);
    const request = ['-keyout', 'one.key', '-out', 'one.csr', '-utf8', '-subj', subject];
    this.#openssl('req', ...NEW_KEY, ...request);
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-extfile', 'extensions'];
    this.#openssl('x509', '-req', '-in', 'one.csr', ...signed, '-days', `${days}`, '-out', 'one.pem');
    return { cert: readFileSync(join(this.folder, 'one.pem')), key: readFileSync(join(this.folder, 'one.key')) };
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #openssl(...words: string[]): void {
    execFileSync('openssl', words, { cwd: this.folder, stdio: 'pipe' });
  }
}
