// Character devices: the same script to qemu-storage-daemon and to us.

import { writeFileSync } from 'node:fs';
import { command, comparing, type Setup, type Step } from './runner.js';

const add = (id: string, type: string, data: object = {}): Step =>
  command('chardev-add', { id, backend: { type, data } });
const change = (id: string, type: string, data: object = {}): Step =>
  command('chardev-change', { id, backend: { type, data } });
const unix = (path: string, own: object = {}): object => ({ type: 'unix', data: { path, ...own } });
const inet = (port: string, own: object = {}): object => ({ type: 'inet', data: { host: '127.0.0.1', port, ...own } });
const read = (size: number, format?: string, device = 'r'): Step =>
  command('ringbuf-read', { device, size, ...(format !== undefined && { format }) });
const write = (data: string, format?: string, device = 'r'): Step =>
  command('ringbuf-write', { device, data, ...(format !== undefined && { format }) });
const list = command('query-chardev');

/** The reference lists them in the order of a hash table, and its package has another name. */
const sorted = (text: string): string => {
  const answer = JSON.parse(text) as { return?: unknown };
  if (!Array.isArray(answer.return)) return text;
  return JSON.stringify({ return: answer.return.map((one) => JSON.stringify(one)).sort() });
};

const SAME: Setup = {
  filter: sorted,
  files: (_, folder) => writeFileSync(`${folder}/input`, ''),
};

describe('oracle: character devices', () => {
  it(
    'are added, listed and removed',
    comparing(
      [
        list,
        add('n', 'null'),
        add('n', 'null'),
        add('r', 'ringbuf', { size: 16 }),
        add('m', 'memory'),
        add('zero', 'ringbuf', { size: 0 }),
        add('f', 'file', { out: 'DIR/out' }),
        add('g', 'file', { in: 'DIR/input', out: 'DIR/out', append: true }),
        add('s', 'socket', { addr: unix('DIR/s') }),
        add('c', 'socket', { addr: unix('DIR/s'), server: false }),
        add('name with blanks', 'null'),
        add('', 'null'),
        list,
        ...['n', 'c', 's', 'f', 'n', 'nobody', 'qmp', ''].map((id) => command('chardev-remove', { id })),
        list,
      ],
      SAME,
    ),
  );

  it(
    'are refused',
    comparing(
      [
        add('a', 'ringbuf', { size: 17 }),
        add('a', 'file', { out: 'DIR/none/out' }),
        add('a', 'file', { in: 'DIR/none', out: 'DIR/out' }),
        add('a', 'file'),
        add('a', 'pipe', { device: 'DIR/none' }),
        add('a', 'frob'),
        command('chardev-add', { id: 'a', backend: { type: 'null' } }),
        command('chardev-add', { id: 'a', backend: { data: {} } }),
        command('chardev-add', { backend: { type: 'null', data: {} } }),
        add('a', 'null', { size: 1 }),
        add('a', 'socket', { addr: unix('DIR/nobody'), server: false }),
        add('a', 'socket', { addr: unix('DIR/none/s') }),
        add('a', 'socket', { addr: unix('DIR/x'), server: false, wait: true }),
        add('a', 'socket', { addr: unix('DIR/x'), reconnect: 1 }),
        add('a', 'socket', { addr: unix('DIR/x'), server: 'yes' }),
        add('a', 'socket'),
        command('chardev-send-break', { id: 'nobody' }),
        list,
      ],
      SAME,
    ),
  );

  it(
    'that are TCP sockets have services, ranges of ports and families',
    comparing(
      [
        add('a', 'socket', { addr: inet('frob') }),
        add('a', 'socket', { addr: inet('frob'), server: false }),
        add('a', 'socket', { addr: inet('kamanda'), server: false }),
        add('a', 'socket', { addr: inet('0', { ipv4: false, ipv6: false }) }),
        add('a', 'socket', { addr: inet('0', { ipv6: true }) }),
        add('a', 'socket', { addr: inet('0', { to: 70000 }) }),
        add('a', 'socket', { addr: inet('0', { to: '7' }) }),
        add('a', 'socket', { addr: inet('20301', { to: 20310 }), wait: false }),
        add('b', 'socket', { addr: inet('20301', { to: 20310 }), wait: false }),
        add('c', 'socket', { addr: inet('20301', { to: 20302 }), wait: false }),
        add('d', 'socket', { addr: inet('20301'), wait: false }),
        list,
        command('nbd-server-start', { addr: inet('frob') }),
        command('nbd-server-start', { addr: inet('20301', { to: 20302 }) }),
        command('nbd-server-start', { addr: inet('20301', { to: 20310 }) }),
        command('nbd-server-stop'),
      ],
      SAME,
    ),
  );

  it(
    'that are abstract sockets have names that are tight or fill the address',
    comparing(
      [
        add('a', 'socket', { addr: unix('DIR-abstract', { abstract: true }), wait: false }),
        add('b', 'socket', { addr: unix('DIR-abstract', { abstract: true, tight: false }), wait: false }),
        add('c', 'socket', { addr: unix('DIR-abstract', { abstract: true, tight: true }), wait: false }),
        add('d', 'socket', { addr: unix('DIR-abstract', { abstract: true, tight: false }), wait: false }),
        add('e', 'socket', { addr: unix('DIR-other', { abstract: true }), server: false }),
        add('f', 'socket', { addr: unix('DIR-abstract', { abstract: true, tight: false }), server: false }),
      ],
      SAME,
    ),
  );

  it(
    'have logs, and credentials that are there',
    comparing(
      [
        add('a', 'null', { logfile: 'DIR/none/log' }),
        add('a', 'ringbuf', { logfile: 'DIR/log', logappend: 'yes' }),
        add('r', 'ringbuf', { logfile: 'DIR/log', logappend: true }),
        write('written'),
        add('s', 'socket', { addr: unix('DIR/s'), 'tls-creds': 'nobody' }),
        add('s', 'socket', { addr: unix('DIR/s'), 'tls-authz': 'nobody' }),
        add('s', 'socket', { addr: unix('DIR/s'), server: false, 'tls-creds': 'nobody' }),
        add('s', 'socket', { addr: unix('DIR/s'), nodelay: true, wait: false }),
        list,
      ],
      SAME,
    ),
  );

  it(
    'that are pseudo terminals say where they are',
    comparing([add('p', 'pty'), add('p', 'pty', { x: 1 }), list, command('chardev-remove', { id: 'p' }), list], {
      ...SAME,
      filter: (text) => sorted(text).replaceAll(/\/dev\/pts\/\d+/g, '/dev/pts/N'),
    }),
  );

  it(
    'are changed, unless a monitor is there',
    comparing(
      [
        change('nobody', 'null'),
        change('qmp', 'null'),
        add('a', 'null'),
        change('a', 'ringbuf', { size: 8 }),
        write('0123456789', undefined, 'a'),
        read(100, undefined, 'a'),
        list,
        add('b', 'null'),
        change('b', 'file', { out: 'DIR/none/out' }),
        command('chardev-send-break', { id: 'a' }),
      ],
      SAME,
    ),
  );

  it(
    'that are ring buffers are written and read, as text and as Base64',
    comparing(
      [
        add('r', 'ringbuf', { size: 16 }),
        add('n', 'null'),
        read(5),
        write('hello'),
        read(3),
        read(30),
        write('0123456789abcdefXYZ'),
        read(1),
        write('!'),
        read(30),
        write('aGVsbG8=', 'base64'),
        read(30, 'base64'),
        write('aGVsbG8', 'base64'),
        write('a!', 'base64'),
        write('', 'base64'),
        write('//4=', 'base64'),
        read(30),
        write('ÿ€😀'),
        read(30),
        write('ÿ', 'utf8'),
        read(1),
        read(1, 'utf8'),
        read(30, 'base64'),
        read(0),
        read(-1),
        read(1, 'frob'),
        write('x', 'frob'),
        read(1, undefined, 'n'),
        write('x', undefined, 'n'),
        read(1, undefined, 'nobody'),
        write('x', undefined, 'nobody'),
      ],
      SAME,
    ),
  );
});
