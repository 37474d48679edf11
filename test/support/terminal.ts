// Runs a program on a pseudo terminal, as a person does: waits for what it prints, types, changes the size of the window.
//
//   test --steps (JSON)--> python3 --pty--> program
//        <--said, code--

import { spawnSync } from 'node:child_process';
import { expect } from 'chai';

export interface Terminal {
  folder: string;
  columns?: number;
  env?: Record<string, string>;
}

/** One thing that a person does: waits until `see` was printed since the step before, types, gives the window so many columns, or sends a signal. */
export interface TerminalStep {
  see?: string;
  type?: string;
  columns?: number;
  signal?: number;
}

export interface TerminalOutcome {
  /** All that was printed, as the terminal gets it: lines end with CR and LF. */
  said: string;
  /** Exit code; of a program that a signal has ended, its negative number. */
  code: number;
}

const PATIENCE_S = 30;

const DRIVER = `
import fcntl, json, os, pty, select, signal, struct, sys, termios, time
order = json.loads(sys.argv[1])
pid, terminal = pty.fork()
def resize(fd, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
if pid == 0:
    resize(1, order['columns'])
    os.execvp(order['program'][0], order['program'])
said = b''
seen = 0
end = time.monotonic() + ${PATIENCE_S}
closed = False
def listen():
    global said, closed
    left = end - time.monotonic()
    if left <= 0 or closed:
        return False
    if not select.select([terminal], [], [], left)[0]:
        return False
    try:
        part = os.read(terminal, 65536)
    except OSError:
        part = b''
    if not part:
        closed = True
        return False
    said += part
    return True
missed = None
for step in order['steps']:
    if 'see' in step:
        wanted = step['see'].encode()
        while said.find(wanted, seen) < 0:
            if not listen():
                break
        at = said.find(wanted, seen)
        if at < 0:
            missed = step['see']
            break
        seen = at + len(wanted)
    if 'columns' in step:
        resize(terminal, step['columns'])
    if 'type' in step:
        os.write(terminal, step['type'].encode())
    if 'signal' in step:
        os.kill(pid, step['signal'])
if missed is None:
    while listen():
        pass
if not closed and missed is None:
    missed = 'the end'
if missed is not None:
    os.kill(pid, signal.SIGKILL)
_, status = os.waitpid(pid, 0)
print(json.dumps({'said': said.decode('utf8', 'replace'), 'code': os.waitstatus_to_exitcode(status), 'missed': missed}))
`;

/** Does `steps` while `program` runs, and then waits for its end. Fails where something was not to be seen within 30 seconds. */
export function onTerminal(
  { folder, columns = 80, env = {} }: Terminal,
  program: readonly string[],
  steps: readonly TerminalStep[] = [],
): TerminalOutcome {
  const order = JSON.stringify({ columns, program, steps });
  const { stdout, stderr } = spawnSync('python3', ['-c', DRIVER, order], {
    cwd: folder,
    env: { PATH: process.env['PATH'], HOME: folder, TERM: 'xterm', ...env },
    encoding: 'utf8',
  });
  expect(stderr).to.equal('');
  const { said, code, missed } = JSON.parse(stdout) as TerminalOutcome & { missed: string | null };
  expect(missed, `not to be seen in: ${JSON.stringify(said)}`).to.equal(null);
  return { said, code };
}
