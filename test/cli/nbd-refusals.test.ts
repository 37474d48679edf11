// Wrong command lines to qemu-nbd and to us: the same exit code, and the same words.

import { truncateSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { type Outcome, Workshop } from '../support/cli.js';
import { type NbdCommand, nbdCommand, runNbd } from '../support/nbd-process.js';
import { withoutOwnWords } from '../support/own-words.js';
import { requirePeer } from '../support/peers.js';

/** What is typed, word by word. `a.raw` and `a.qcow2` are there, `gone` is not, nor is the folder `nowhere`. */
const SAME: readonly string[] = [
  '',
  '--frob',
  '-z a.raw',
  '-p',
  '--shared',
  '--read-only=yes a.raw',
  'a.raw a.qcow2',
  '-k relative a.raw',
  '-k /nowhere/socket -f raw a.raw',
  '-b nohost.invalid -f raw a.raw',
  '-b 203.0.113.1 -f raw a.raw',
  '-e abc a.raw',
  '-e -1 a.raw',
  '-e 5k a.raw',
  '-e 2147483648 a.raw',
  '-o abc a.raw',
  '-o 1M a.raw',
  '-o 99999999999999999999 a.raw',
  '-k SOCKET -o 1048577 -f raw a.raw',
  '-k SOCKET -B nope -f qcow2 a.qcow2',
  '-k SOCKET -B nope -f raw a.raw',
  '--cache=foo a.raw',
  '--cache= a.raw',
  '-n --cache=none a.raw',
  '--cache=none -n a.raw',
  '--cache=none --cache=none a.raw',
  '--aio=foo a.raw',
  '--aio=threads --aio=threads a.raw',
  '-k SOCKET --aio=native a.raw',
  '--discard=foo a.raw',
  '--discard=unmap --discard=unmap a.raw',
  '--detect-zeroes=foo a.raw',
  '--detect-zeroes=unmap a.raw',
  '--image-opts -f raw driver=raw,file.filename=a.raw',
  '-k SOCKET --image-opts foo=bar',
  '-k SOCKET -f xyz a.raw',
  '-k SOCKET -f qcow2 a.raw',
  '-k SOCKET gone',
  '-k SOCKET .',
  '-k SOCKET -f raw --pid-file=/nowhere/pid a.raw',
  '-k SOCKET --fork -f qcow2 a.raw',
  '-k SOCKET --fork -f raw --pid-file=/nowhere/pid a.raw',
  '-L a.raw',
  '-L -o 1',
  '-L -x foo',
  '-L -f raw',
  '-L -B x',
  '-L -A',
  '-L -D x',
  '-L -n',
  '-L --discard=unmap',
  '-L --fork',
  '-L -k SOCKET',
  '-L -b 127.0.0.1 -p 1',
  '-L --tls-creds=x -k SOCKET',
  '-L --tls-authz=x',
  '--tls-authz=x a.raw',
  '--tls-hostname=x a.raw',
  '-k SOCKET --tls-creds=x a.raw',
  '-k SOCKET --object foo,id=a -f raw a.raw',
  '-k SOCKET --object secret,id=a -f raw a.raw',
  '-k SOCKET --object secret -f raw a.raw',
  '-k SOCKET --object secret,id=a,data=b --tls-creds=a -f raw a.raw',
];

/** What we refuse by name, or in other words than qemu-nbd, and why. */
const OURS: readonly (readonly [line: string, message: string, reason: string])[] = [
  ['-c /dev/nbd0 a.raw', "option '-c' is not supported yet", 'the kernel client is'],
  ['-d /dev/nbd0', "option '-d' is not supported yet", 'the kernel client is'],
  ['-T foo a.raw', "option '-T' is not supported yet", 'there are no trace events'],
  ['--selinux-label=x a.raw', "option '--selinux-label' is not supported yet", 'no SELinux'],
  ['-p abc a.raw', 'address resolution failed for 0.0.0.0:abc: a port is a number from 0 to 65535', 'no service names'],
  [
    '-p 70000 a.raw',
    'address resolution failed for 0.0.0.0:70000: a port is a number from 0 to 65535',
    'not modulo 2^16',
  ],
  ['-k /s -p 10 a.raw', '--socket and --port are mutually exclusive', 'qemu-nbd ignores the port'],
  ['-k /s -b ::1 a.raw', '--socket and --bind are mutually exclusive', 'qemu-nbd ignores the address'],
  ['-L -t', 'List mode is incompatible with --persistent', 'qemu-nbd ignores it'],
  ['-L -e 3', 'List mode is incompatible with --shared', 'qemu-nbd ignores it'],
  ['-L -r', 'List mode is incompatible with per-device settings', 'qemu-nbd ignores it'],
  ['--handshake-limit=x a.raw', "Invalid handshake limit 'x'", 'an option of later qemu-nbd'],
];

describe('nbd: wrong command lines', () => {
  let shop: Workshop;
  let ours: NbdCommand;
  let theirs: NbdCommand;

  before(async function () {
    requirePeer(this, 'qemu-nbd');
    shop = await Workshop.open();
    ours = await nbdCommand('diskwright');
    theirs = await nbdCommand('qemu-nbd');
    writeFileSync(shop.path('a.raw'), '');
    truncateSync(shop.path('a.raw'), 1 << 20);
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'a.qcow2', '1M');
  });
  after(() => shop?.remove());

  const type = (command: NbdCommand, line: string): Outcome => {
    const words = line === '' ? [] : line.split(' ').map((word) => (word === 'SOCKET' ? shop.path('socket') : word));
    return runNbd(command, words, shop.folder);
  };

  for (const line of SAME) {
    it(`nbd ${line}`, () => {
      const expected = type(theirs, line);
      expect(expected.code, 'qemu-nbd refuses it too').to.equal(1);
      const got = type(ours, line);
      expect({ ...got, stderr: asTheirs(got.stderr) }).to.deep.equal({
        ...expected,
        stderr: withoutOwnWords(plain(expected.stderr)),
      });
    });
  }

  for (const [line, message, reason] of OURS) {
    it(`nbd ${line}: ${reason}`, () => {
      expect(type(ours, line)).to.deep.equal({ code: 1, stdout: '', stderr: `diskwright: ${message}\n` });
    });
  }

  it('says how long a socket path and a name may be', () => {
    const path = `/${'s'.repeat(110)}`;
    expect(type(ours, `-k ${path} a.raw`).stderr).to.include(`UNIX socket path '${path}' is too long`);
    expect(type(theirs, `-k ${path} a.raw`).stderr).to.include(`UNIX socket path '${path}' is too long`);
    for (const [option, what] of [
      ['-x', 'export name'],
      ['-D', 'export description'],
    ]) {
      const line = `-k SOCKET ${option} ${'x'.repeat(4097)} -f raw a.raw`;
      const message = `${what} '${'x'.repeat(4097)}' too long\n`;
      expect(type(ours, line)).to.deep.equal({ code: 1, stdout: '', stderr: `diskwright: ${message}` });
      expect(type(theirs, line).stderr).to.equal(`qemu-nbd: ${message}`);
    }
  });

  it("names no function of qemu-nbd's under its own name, and what qemu-nbd names by that one's", () => {
    const words = "Could not open 'gone': No such file or directory\n";
    expect(type(ours, '-k SOCKET gone').stderr).to.equal(`diskwright: ${words}`);
    expect(shop.shim('qemu-nbd', '-k', shop.path('socket'), 'gone').stderr).to.equal(
      `qemu-nbd: Failed to blk_new_open 'gone': ${words}`,
    );
  });

  it('says that the name of the file for its process id is empty', () => {
    const empty = 'The name of the file for the process id is empty\n';
    expect(type(ours, '-k SOCKET -f raw --pid-file= a.raw').stderr).to.equal(`diskwright: ${empty}`);
    expect(shop.ours('daemon', '--pidfile=').stderr).to.equal(`diskwright: cannot create PID file: ${empty}`);
    expect(shop.shim('qemu-nbd', '-k', shop.path('socket'), '-f', 'raw', '--pid-file=', 'a.raw').stderr).to.equal(
      "qemu-nbd: Could not create '': No such file or directory\n",
    );
  });

  it('leaves no socket behind when it fails', () => {
    expect(type(ours, '-k SOCKET -f raw --pid-file=/nowhere/pid a.raw').code).to.equal(1);
    expect(shop.must('ls')).to.equal('a.qcow2\na.raw\n');
  });
});

/** Where to find help is said in our own way; warnings are not about what is wrong. */
function plain(stderr: string): string {
  return stderr.replace(/^.*--help.*\n/gm, '').replace(/^WARNING:.*\n( .*\n)*/gm, '');
}

function asTheirs(stderr: string): string {
  return withoutOwnWords(plain(stderr)).replace(/^diskwright:/gm, 'qemu-nbd:');
}
