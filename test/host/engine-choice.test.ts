// Which engine runs, and who says so.
import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { openRealHost } from '../../src/host/real/index.js';
import { leaveOut } from '../support/needs.js';
import { programOf } from '../support/program.js';

const HOST = new URL('../../src/host/real/index.ts', import.meta.url);
const SAY = `import(process.argv[1]).then(async ({ openRealHost }) => {
  try { const host = openRealHost(); console.log(host.engine); await host.close(); }
  catch (error) { console.log(error.code, error.message); }
});`;

/** What a process with that engine in its environment says; `wrap` comes before the command. */
function say(engine: string | undefined, wrap: string[] = []): string {
  const env: NodeJS.ProcessEnv = { ...process.env, DISKWRIGHT_ENGINE: engine };
  if (engine === undefined) delete env['DISKWRIGHT_ENGINE'];
  const [command, ...words] = [...wrap, process.execPath, '-e', SAY, programOf(HOST)];
  return spawnSync(command, words, { encoding: 'utf8', env }).stdout.trim();
}

/** Makes the kernel refuse io_uring, as a container's seccomp profile does. */
const NO_RING = [
  'strace',
  '-f',
  '-qq',
  '-o',
  '/dev/null',
  '-e',
  'trace=io_uring_setup',
  '-e',
  'inject=io_uring_setup:error=EPERM',
];

describe('choice of the engine', () => {
  it('DISKWRIGHT_ENGINE=threads is obeyed', () => {
    expect(say('threads')).to.equal('threads');
  });

  it('an engine that does not exist is refused by name', () => {
    expect(say('floppy')).to.match(/^invalid-argument .*floppy.*io_uring, threads/);
  });

  it('without a word, io_uring where the system has it', () => {
    expect(say(undefined)).to.equal(say('io_uring').startsWith('unsupported') ? 'threads' : 'io_uring');
  });

  describe('where io_uring is forbidden', () => {
    before(function () {
      if (spawnSync('strace', ['-V']).error === undefined && say('threads', NO_RING) === 'threads') return;
      leaveOut(this, 'a filter of system calls');
    });

    it('threads take over, and who insists is told why', () => {
      expect(say(undefined, NO_RING)).to.equal('threads');
      expect(say('io_uring', NO_RING)).to.match(/^unsupported .*io_uring.*EPERM.*DISKWRIGHT_ENGINE=threads/);
    });
  });

  it('refuses a number of slots that cannot be', () => {
    for (const slots of [0, -1, 1.5, 1e9]) {
      expect(() => openRealHost({ slots }))
        .to.throw()
        .with.property('code', 'invalid-argument');
    }
  });
});
