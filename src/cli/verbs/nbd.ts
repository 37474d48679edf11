// `diskwright nbd`: serves an image as qemu-nbd does, or lists the exports of another server. It also runs where the program is called by the
// name qemu-nbd (through a link).

import { type ParsedOptions, PLAIN_WORDS } from '../getopt.js';
import { takeActivation } from '../nbd/activation.js';
import { forkedFrom, forkServer } from '../nbd/fork.js';
import { OPTIONS } from '../nbd/options.js';
import { listPlan, servePlan } from '../nbd/plan.js';
import { write } from '../output.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'nbd',
  synopsis: '[-k PATH | -p PORT] [-f FMT] [-x NAME] [-r] [-t] [options] FILENAME',
  description:
    'Serves an image to NBD clients: virtual machines, nbdcopy, nbd-client, qemu-img. The command line is that of qemu-nbd; a link ' +
    'named qemu-nbd to this program is a replacement for it.\n\n' +
    'The server ends, after all data was flushed, when the last client has disconnected (not with -t), or at SIGTERM, SIGINT or SIGHUP.\n\n' +
    'With --list it connects to a server and lists its exports.',
  options: OPTIONS,
  words: PLAIN_WORDS,
  peer: 'qemu-nbd',
  notes: [
    [
      'Socket activation',
      'With LISTEN_FDS=1 and LISTEN_PID, as systemd sets them, descriptor 3 is the\nlistening socket; -k, -p and -b are refused then.',
    ],
    [
      'Exit codes',
      '0    done: the last client has disconnected, or a signal has ended the server\n1    failed\n130  another signal has ended the server at once (143: the first one was SIGTERM, 129: SIGHUP)',
    ],
  ],
  examples: [
    ['diskwright nbd -f qcow2 disk.qcow2', 'to one client, at TCP port 10809; ends when the client disconnects'],
    [
      'diskwright nbd --fork -t -e 0 -k /run/disk.sock -f qcow2 disk.qcow2',
      'in the background, to any number of clients, at a UNIX socket',
    ],
    [
      'diskwright nbd -r -t -B nightly -k /run/disk.sock -f qcow2 disk.qcow2',
      'read-only, with a dirty bitmap: for a backup program',
    ],
    ['diskwright nbd -r -t -k /run/disk.sock -f raw fat:folder', 'a folder, as a disk with a FAT file system'],
    ['diskwright nbd --list -k /run/disk.sock', 'the exports of a server'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  if (options.has('version')) {
    write(await (await import('../version.js')).versionText());
    return 0;
  }
  const forked = forkedFrom(process.env);
  const activated = takeActivation(process.env, forked?.parent ?? process.pid);
  if (options.has('list')) return (await import('../nbd/list.js')).list(listPlan(options, activated));
  const plan = servePlan(options, activated);
  if (options.has('fork') && forked === null) return forkServer({ verbose: plan.verbose, activated });
  return (await import('../nbd/serve.js')).serve(plan, forked);
}
