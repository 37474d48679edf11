// Images on a web server: nginx on loopback, its files in the page cache. A raw image beside curl, which does no more than store what comes; a qcow2 image beside curl, and
// qemu-img's convert of what it has stored. Whole commands.

import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { freePort } from '../../test/support/free-port.js';
import { until } from '../../test/support/nbd-process.js';
import type { DataSet } from '../lib/data.js';
import { type Case, command } from '../lib/measure.js';

const GIB = 1 << 30;

const nginxHere = spawnSync('sh', ['-c', 'PATH="$PATH:/usr/sbin"; command -v nginx']).status === 0;
let started: Promise<number> | null = null;

/** Starts the server, once; it ends with this process. Resolves to its port. */
function serve(folder: string): Promise<number> {
  started ??= start(folder);
  return started;
}

async function start(folder: string): Promise<number> {
  const own = join(folder, 'nginx');
  mkdirSync(own, { recursive: true });
  const port = await freePort();
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const temporary = kinds.map((name) => `${name}_temp_path ${own}/temporary;`);
  const user = process.getuid?.() === 0 ? 'user root;' : '';
  writeFileSync(
    join(own, 'nginx.conf'),
    `${user} daemon off; master_process off; pid ${own}/pid; error_log ${own}/errors; worker_processes 1; events {}
http { ${temporary.join(' ')} access_log off; sendfile on; keepalive_requests 100000;
  server { listen 127.0.0.1:${port}; root ${folder}; } }`,
  );
  const child = spawn('nginx', ['-p', own, '-c', join(own, 'nginx.conf')], {
    stdio: 'ignore',
    env: { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin` },
  });
  child.unref();
  process.on('exit', () => child.kill());
  await until('nginx listens', () => {
    if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode} before it listened`);
    return answers(port);
  });
  return port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}

export function httpCases(data: DataSet, ours: readonly string[]): Case[] {
  if (!nginxHere) return [];
  const target = join(data.folder, 'out.img');
  const stored = join(data.folder, 'out.stored');
  const url = (path: string) => (port: number) => `http://127.0.0.1:${port}/${path.slice(data.folder.length + 1)}`;
  const prepare = () => {
    for (const path of [target, stored]) rmSync(path, { force: true });
  };
  /** A command, in whose words a URL waits for the port. */
  const run = (...words: (string | ((port: number) => string))[]) => {
    let port = 0;
    const once = command(data.folder, () => words.map((word) => (typeof word === 'string' ? word : word(port))));
    return async () => {
      port = await serve(data.folder);
      return once();
    };
  };
  const convert = (format: string, source: string) =>
    run(...ours, 'convert', '-f', format, '-O', 'raw', url(source), target);
  const line = 'set -e; curl -sf -o "$1" "$2"; exec qemu-img convert -f qcow2 -O raw "$1" "$3"';
  return [
    {
      name: 'http.raw-raw',
      bytes: GIB,
      aim: 0.9,
      ours: { name: 'diskwright', prepare, run: convert('raw', data.fsRaw) },
      peers: [{ name: 'curl', prepare, run: run('curl', '-sf', '-o', target, url(data.fsRaw)) }],
    },
    {
      name: 'http.qcow2-raw',
      bytes: GIB,
      aim: 1,
      ours: { name: 'diskwright', prepare, run: convert('qcow2', data.fsQcow2) },
      peers: [
        {
          name: 'curl, and qemu-img',
          prepare,
          run: run('bash', '-c', line, 'bash', stored, url(data.fsQcow2), target),
        },
      ],
    },
  ];
}
