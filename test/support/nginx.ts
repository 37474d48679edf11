// An nginx of a test's own, on a free port of this host, that serves a folder in several ways.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.js';
import { until } from './nbd-process.js';

export class Nginx {
  /** http://127.0.0.1:PORT */
  readonly plain: string;
  readonly tls: string;
  /** What is served: `/`, and by other rules `/moved/` (redirected), `/whole/` (no ranges), `/private/` (user `me`, password `pass word`), `/cookie/` (`key=value`). */
  readonly files: string;
  readonly #folder: string;

  private constructor(folder: string, port: number, tlsPort: number) {
    this.#folder = folder;
    this.files = join(folder, 'files');
    this.plain = `http://127.0.0.1:${port}`;
    this.tls = `https://localhost:${tlsPort}`;
  }

  get certificate(): string {
    return join(this.#folder, 'cert.pem');
  }

  static async start(folder: string): Promise<Nginx> {
    const [port, tlsPort] = [await freePort(), await freePort()];
    const server = new Nginx(folder, port, tlsPort);
    mkdirSync(server.files, { recursive: true });
    server.#makeCertificate();
    writeFileSync(join(folder, 'passwords'), 'me:{PLAIN}pass word\n');
    writeFileSync(join(folder, 'nginx.conf'), server.#configuration(port, tlsPort));
    server.#run();
    await until('nginx answers', async () => {
      const answer = await fetch(server.plain).catch(() => null);
      return answer !== null;
    });
    return server;
  }

  #makeCertificate(): void {
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];
    const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    const files = ['-keyout', join(this.#folder, 'key.pem'), '-out', this.certificate];
    const { status, stderr } = spawnSync('openssl', [...words, ...names, ...files], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`openssl: ${stderr}`);
  }

  #configuration(port: number, tlsPort: number): string {
    const { files } = this;
    const at = (name: string) => join(this.#folder, name);
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (name) => `${name}_temp_path ${at('temporary')};`,
    );
    // Root's workers would be another user's, who may not look into a test's folder.
    const user = process.getuid?.() === 0 ? 'user root;' : '';
    return `${user} daemon off; pid ${at('pid')}; error_log ${at('errors')}; worker_processes 1;
events {}
http {
  ${temporary.join(' ')}
  access_log off; sendfile on;
  server {
    listen 127.0.0.1:${port};
    listen 127.0.0.1:${tlsPort} ssl;
    server_name localhost;
    ssl_certificate ${this.certificate}; ssl_certificate_key ${at('key.pem')};
    root ${files};
    location /moved/ { rewrite ^/moved/(.*) /again/$1 redirect; }
    location /again/ { rewrite ^/again/(.*) /$1 permanent; }
    location /round/ { return 302 /round/; }
    location /whole/ { alias ${files}/; max_ranges 0; }
    location /private/ { alias ${files}/; auth_basic "files"; auth_basic_user_file ${at('passwords')}; }
    location /cookie/ { if ($http_cookie != "key=value") { return 403; } alias ${files}/; }
  }
}
`;
  }

  /** Until `stop`. */
  #run(): void {
    const child = spawn('nginx', ['-p', this.#folder, '-c', join(this.#folder, 'nginx.conf')], {
      stdio: 'ignore',
      env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` },
    });
    this.stop = () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGQUIT');
      });
  }

  stop: () => Promise<void> = async () => {};
}
