// The options of `diskwright nbd`: qemu-nbd's, by the same names.

import { AIO_ENGINES, CACHE_MODES, DISCARD_MODES, FORMAT, HELP } from '../arguments.js';
import { GENERATIONS } from '../generations.js';
import type { OptionSpec } from '../getopt.js';
import { DETECT_ZEROES } from './plan.js';

const CONNECTION: readonly OptionSpec[] = [
  {
    key: 'port',
    short: 'p',
    long: 'port',
    argument: 'PORT',
    help: 'TCP port to listen on (default 10809; 0: any free port, which -v prints).',
  },
  { key: 'bind', short: 'b', long: 'bind', argument: 'ADDRESS', help: 'Address to listen on (default 0.0.0.0).' },
  {
    key: 'socket',
    short: 'k',
    long: 'socket',
    argument: 'PATH',
    help: 'Listen on a UNIX socket: an absolute path. Excludes -p and -b.',
  },
  {
    key: 'shared',
    short: 'e',
    long: 'shared',
    argument: 'NUM',
    help: 'Clients that are served at the same time (default 1; 0: any number). Others have to wait.',
  },
  { key: 'persistent', short: 't', long: 'persistent', help: 'Keep running when the last client has disconnected.' },
  {
    key: 'export-name',
    short: 'x',
    long: 'export-name',
    argument: 'NAME',
    help: 'Name of the export (default: the empty name).',
  },
  {
    key: 'description',
    short: 'D',
    long: 'description',
    argument: 'TEXT',
    help: 'Description of the export, which clients can list.',
  },
  {
    key: 'handshake-limit',
    long: 'handshake-limit',
    argument: 'N',
    help: 'Seconds in which a client must choose the export (default 10; 0: no limit).',
  },
];

const IMAGE: readonly OptionSpec[] = [
  {
    key: 'format',
    short: 'f',
    long: 'format',
    argument: 'FMT',
    help: FORMAT.help,
  },
  {
    key: 'image-opts',
    long: 'image-opts',
    help: 'FILENAME is a string of options: driver=qcow2,file.filename=a.qcow2. Excludes -f.',
  },
  {
    key: 'read-only',
    short: 'r',
    long: 'read-only',
    help: 'Clients may not write. Required if the file is not writable.',
  },
  {
    key: 'snapshot',
    short: 's',
    long: 'snapshot',
    help: 'Writes go to a temporary overlay (in TMPDIR, else /var/tmp) that is deleted at the end; FILENAME is only read.',
  },
  {
    key: 'load-snapshot',
    short: 'l',
    long: 'load-snapshot',
    argument: 'SNAPSHOT',
    help: 'Serve an internal snapshot, read-only (with -s: under the overlay): its ID, its name, or snapshot.id=ID,snapshot.name=NAME.',
  },
  { key: 'offset', short: 'o', long: 'offset', argument: 'OFFSET', help: 'Serve the image from this byte on.' },
  {
    key: 'allocation-depth',
    short: 'A',
    long: 'allocation-depth',
    help: 'Clients may ask which layer of the backing chain data comes from (qemu:allocation-depth).',
  },
  {
    key: 'bitmap',
    short: 'B',
    long: 'bitmap',
    argument: 'NAME',
    help: 'Clients may read this dirty bitmap (qemu:dirty-bitmap:NAME). May be given several times.',
  },
  {
    key: 'cache',
    long: 'cache',
    argument: 'MODE',
    values: Object.keys(CACHE_MODES),
    help: 'none, writeback (default), writethrough, directsync or unsafe.',
  },
  { key: 'nocache', short: 'n', long: 'nocache', help: 'The same as --cache=none.' },
  {
    key: 'aio',
    long: 'aio',
    argument: 'MODE',
    values: Object.keys(AIO_ENGINES),
    help: 'threads, io_uring or native (which needs --cache=none or directsync, and is done by io_uring). Default: io_uring where the system has it.',
  },
  {
    key: 'discard',
    long: 'discard',
    argument: 'MODE',
    values: Object.keys(DISCARD_MODES),
    help: 'What a trim request does: ignore (default, also off) or unmap (also on).',
  },
  {
    key: 'detect-zeroes',
    long: 'detect-zeroes',
    argument: 'MODE',
    values: DETECT_ZEROES,
    help: 'Whether a write of zeroes becomes a request to write zeroes: off (default), on, or unmap (which may free the range, and needs --discard=unmap).',
  },
].map((option) => ({ ...option, group: 'Image' }));

const GENERAL: readonly OptionSpec[] = [
  {
    key: 'object',
    long: 'object',
    argument: 'TYPE,id=ID,...',
    help: 'Create an object that other options refer to: tls-creds-x509, tls-creds-psk, secret, authz-simple, authz-list, authz-list-file.',
  },
  {
    key: 'tls-creds',
    long: 'tls-creds',
    argument: 'ID',
    help: 'Clients must use TLS with these credentials; with --list: connect with them.',
  },
  {
    key: 'tls-authz',
    long: 'tls-authz',
    argument: 'ID',
    help: 'Authorization object that decides, by the name in their certificate, which clients may connect.',
  },
  {
    key: 'tls-hostname',
    long: 'tls-hostname',
    argument: 'NAME',
    help: "With --list: the name that the server's certificate must have.",
  },
  { key: 'list', short: 'L', long: 'list', help: 'List the exports of the server at -k, or at -b and -p.' },
  {
    key: 'monitor',
    long: 'monitor',
    argument: 'PATH',
    help: 'A QMP monitor at this UNIX socket, as that of diskwright daemon: the image, whose device and export are called disk, can be copied and have snapshots made of it while it is served.',
  },
  {
    key: 'compat',
    long: 'compat',
    argument: 'WHICH',
    values: GENERATIONS,
    help: 'The monitor takes the commands of an older QMP, too: first-names or 2.1, as that of diskwright daemon. May be given twice.',
  },
  { key: 'fork', long: 'fork', help: 'Continue in the background once clients can connect.' },
  { key: 'pid-file', long: 'pid-file', argument: 'PATH', help: 'Write the process id to this file, and lock it.' },
  {
    key: 'verbose',
    short: 'v',
    long: 'verbose',
    help: 'Print the address, and a line for each client that connects or disconnects, as is done on a terminal. With --fork, messages continue in the background.',
  },
  { key: 'version', short: 'V', long: 'version', help: 'Show the version, the I/O engine and the codecs, and exit.' },
  HELP,
].map((option) => ({ ...option, group: 'General' }));

const REFUSED: readonly OptionSpec[] = [
  { key: 'connect', short: 'c', long: 'connect', argument: 'DEV', help: 'Kernel device.', refused: true },
  { key: 'disconnect', short: 'd', long: 'disconnect', help: 'Kernel device.', refused: true },
  { key: 'trace', short: 'T', long: 'trace', argument: 'PATTERN', help: 'Trace events.', refused: true },
  { key: 'selinux-label', long: 'selinux-label', argument: 'LABEL', help: 'Label of the socket.', refused: true },
];

export const OPTIONS: readonly OptionSpec[] = [
  ...CONNECTION.map((option) => ({ ...option, group: 'Connections' })),
  ...IMAGE,
  ...GENERAL,
  ...REFUSED,
];
