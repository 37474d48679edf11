// Options of `diskwright daemon`: those of qemu-storage-daemon. They take effect in the order in which they are given.

import { GENERATIONS } from '../generations.js';
import type { OptionSpec } from '../getopt.js';

export const OPTIONS = [
  { key: 'help', short: 'h', long: 'help', help: 'Prints this help.' },
  { key: 'version', short: 'V', long: 'version', help: 'Prints the version.' },
  {
    key: 'blockdev',
    long: 'blockdev',
    argument: 'NODE',
    parameters: null,
    help: 'Opens an image: driver=DRIVER,node-name=NAME,... or JSON, as blockdev-add takes it.',
  },
  {
    key: 'drive',
    long: 'drive',
    argument: 'DEVICE',
    parameters: 'DriveOptions',
    help: 'Makes a device on an image: id=ID,file=FILE, and as needed format=DRIVER, node-name=NODE, cache=MODE, rerror=ACTION, werror=ACTION, throttling.iops-total=N and the like, and options of the image.',
  },
  {
    key: 'chardev',
    long: 'chardev',
    argument: 'DEVICE',
    parameters: 'ChardevOptions',
    help: 'Creates a character device for a monitor: socket,id=ID,path=PATH,server=on,wait=off (or host=HOST,port=PORT[,to=PORT][,tls-creds=ID][,tls-authz=ID], or fd=N; a client may have reconnect=SECONDS), stdio,id=ID, file,id=ID,path=PATH[,input-path=PATH][,append=on], pipe,id=ID,path=PATH, ringbuf,id=ID[,size=BYTES], pty,id=ID, or null,id=ID; each with logfile=PATH[,logappend=on].',
  },
  {
    key: 'monitor',
    long: 'monitor',
    argument: 'MONITOR',
    parameters: 'MonitorOptions',
    help: 'Starts a QMP monitor on a character device: [chardev=]ID[,pretty=on].',
  },
  {
    key: 'nbd-server',
    long: 'nbd-server',
    argument: 'SERVER',
    parameters: 'NbdServerOptions',
    help: 'Starts the NBD server: addr.type=unix,addr.path=PATH or addr.type=inet,addr.host=HOST,addr.port=PORT; also tls-creds=ID, tls-authz=ID, max-connections=N.',
  },
  {
    key: 'export',
    long: 'export',
    argument: 'EXPORT',
    parameters: 'BlockExportOptions',
    help: 'Exports a node to NBD clients: nbd,id=ID,node-name=NODE, and as needed name=NAME, writable=on, bitmaps.0=NAME, allocation-depth=on. Or as a file that is mounted: fuse,id=ID,node-name=NODE,mountpoint=FILE, and as needed writable=on, growable=on, allow-other=on|off|auto.',
  },
  {
    key: 'object',
    long: 'object',
    argument: 'OBJECT',
    parameters: null,
    help: 'Creates an object that other options refer to by its id: throttle-group, secret, tls-creds-x509, tls-creds-psk, authz-simple, authz-list, authz-list-file.',
  },
  {
    key: 'compat',
    long: 'compat',
    argument: 'WHICH',
    values: GENERATIONS,
    help: 'Monitors take the commands of an older QMP, too, for clients that were written for it: first-names (block_stream, block_job_set_speed, block_job_cancel) or 2.1 (blockdev-add with options and id, and so on). May be given twice.',
  },
  {
    key: 'pidfile',
    long: 'pidfile',
    argument: 'PATH',
    help: 'Writes the process id to PATH when the daemon is ready.',
  },
  {
    key: 'daemonize',
    long: 'daemonize',
    help: 'Continues in the background; the command ends when the daemon is ready.',
  },
  { key: 'trace', short: 'T', long: 'trace', argument: 'EVENTS', help: 'Traces events.', refused: true },
] as const satisfies readonly OptionSpec[];
