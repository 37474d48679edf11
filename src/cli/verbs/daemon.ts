// `diskwright daemon`: images, jobs and exports in one process, controlled by QMP. It also runs where the program is called by the name
// qemu-storage-daemon (through a link).

import { OPTIONS } from '../daemon/options.js';
import { ADVISING_WORDS, type ParsedOptions, UsageError } from '../getopt.js';
import { forkedFrom, forkServer } from '../nbd/fork.js';
import { write } from '../output.js';
import type { Verb } from '../verb.js';

export const verb: Verb = {
  name: 'daemon',
  synopsis: '[options]',
  description:
    'Opens images, runs jobs on them while guests write, and exports them over NBD, controlled by QMP. The command line is that of ' +
    'qemu-storage-daemon; a link named qemu-storage-daemon to this program is a replacement for it.\n\n' +
    'The daemon ends at the command quit, or at SIGTERM, SIGINT or SIGHUP: jobs are cancelled, exports are closed, and all data is flushed.',
  options: OPTIONS,
  words: ADVISING_WORDS,
  peer: 'qemu-storage-daemon',
  notes: [
    [
      'Exit codes',
      '0    done: quit, or a signal has ended the daemon\n1    failed\n130  another signal has ended the daemon at once (143: the first one was SIGTERM, 129: SIGHUP)',
    ],
  ],
  examples: [
    [
      'diskwright daemon --blockdev qcow2,node-name=disk0,file.driver=file,file.filename=disk.qcow2 --chardev socket,id=qmp,path=/run/qmp.sock,server=on,wait=off --monitor qmp',
      'an image, and a monitor to start jobs on it',
    ],
    [
      'diskwright daemon --blockdev raw,node-name=disk0,file.driver=file,file.filename=disk.img --nbd-server addr.type=unix,addr.path=/run/nbd.sock --export nbd,id=disk0,node-name=disk0,writable=on',
      'an image for NBD clients',
    ],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  if (options.has('version')) {
    write(await (await import('../version.js')).versionText());
    return 0;
  }
  const [word] = options.positional;
  if (word !== undefined) throw new UsageError(`${word}: Unexpected argument`);
  const { optionHelp } = await import('../daemon/option-help.js');
  for (const [key, text] of options.inOrder) {
    const help = optionHelp(key, text);
    if (help === null) continue;
    write(help);
    return 0;
  }
  const forked = forkedFrom(process.env);
  if (options.has('daemonize') && forked === null) return forkServer({ verbose: false, activated: false });
  return (await import('../daemon/run.js')).runDaemon(options, forked);
}
