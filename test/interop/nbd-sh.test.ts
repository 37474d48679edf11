// Scripts of nbdsh (libnbd's shell in Python) at our server and at qemu-nbd, each on its own copy of an image: every command and flag,
// with structured and with simple replies, and what a client may not do. Each script prints one line an answer; the lines are the same.

import { copyFileSync, readFileSync } from 'node:fs';
import { expect } from 'chai';
import { must, type NbdBench, type Offer, specimens, useNbd } from './nbd-support.js';
import { qemuCheck } from './support.js';

/** Before every script: `say` prints an answer, or the error that came instead. */
const PROLOGUE = `
import errno, hashlib, sys
def say(name, action):
    try:
        answer = action()
        if isinstance(answer, (bytes, bytearray)):
            answer = (len(answer), hashlib.sha256(bytes(answer)).hexdigest())
        print(name, answer)
    except nbd.Error as error:
        print(name, 'ERROR', errno.errorcode.get(error.errnum, error.errnum))
def status(count, offset, flags=0):
    found = []
    h.block_status(count, offset, lambda context, at, entries, error: found.append((context, at, list(entries))), flags)
    return sorted(found)
def chunks(count, offset, flags=0):
    found = []
    def chunk(data, at, kind, error):
        found.append((at, len(data), kind))
    data = h.pread_structured(count, offset, chunk, flags)
    return (sum(length for _, length, _ in found), hashlib.sha256(bytes(data)).hexdigest())
`;

const COMMANDS = `
size = h.get_size()
say('size', lambda: size)
for name in ('can_cache', 'can_df', 'can_fast_zero', 'can_flush', 'can_fua', 'can_trim', 'can_zero', 'is_read_only',
             'is_rotational', 'get_structured_replies_negotiated', 'get_protocol', 'get_canonical_export_name'):
    say(name, getattr(h, name))
for kind in (nbd.SIZE_MINIMUM, nbd.SIZE_PREFERRED, nbd.SIZE_MAXIMUM):
    say('block size', lambda: h.get_block_size(kind))
for count, offset in ((1, 0), (512, 512), (4096, 196607), (65536, 1048570), (1000000, 1), (size, 0), (1, size - 1)):
    say('read', lambda: h.pread(count, offset))
for flags in (0, nbd.CMD_FLAG_FUA):
    say('write', lambda: h.pwrite(b'a' * 5000, 3 * 1048576 + 100, flags))
    say('write large', lambda: h.pwrite(b'b' * 3000000, 4 * 1048576, flags))
    say('trim', lambda: h.trim(131072, 4 * 1048576, flags))
    say('flush', h.flush)
for flags in (0, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA):
    say('zero', lambda: h.zero(70000, 5 * 1048576 + 10, flags))
    say('zero clusters', lambda: h.zero(131072, 1048576, flags))
say('cache', lambda: h.cache(1048576, 0))
say('content', lambda: h.pread(size, 0))
queue = [h.aio_pread(nbd.Buffer(4096), at * 4096) for at in range(500)]
while h.aio_in_flight() > 0:
    h.poll(-1)
say('in flight', lambda: [h.aio_command_completed(cookie) for cookie in queue].count(True))
`;

const STRUCTURED = `
for count, offset in ((4096, 0), (3000000, 100000), (1, h.get_size() - 1)):
    say('structured', lambda: chunks(count, offset))
    say('unfragmented', lambda: chunks(count, offset, nbd.CMD_FLAG_DF))
for context in (nbd.CONTEXT_BASE_ALLOCATION, 'qemu:allocation-depth'):
    say(context, lambda: h.can_meta_context(context))
for count, offset in ((h.get_size(), 0), (65536, 65536), (1, 0), (100000, 1000)):
    say('status', lambda: status(count, offset))
    say('one', lambda: status(count, offset, nbd.CMD_FLAG_REQ_ONE))
`;

/** What libnbd itself refuses unless it is told not to. */
const MISUSE = `
h.set_strict_mode(0)
size = h.get_size()
for name in ('pread', 'cache', 'trim', 'zero'):
    for count, offset in ((1, size), (2, size - 1), (4096, size + 4096), (4096, 1 << 62)):
        if name == 'pread':
            say(name, lambda: h.pread(count, offset))
        else:
            say(name, lambda: getattr(h, name)(count, offset))
say('write beyond', lambda: h.pwrite(b'x' * 4096, size - 1))
say('write far beyond', lambda: h.pwrite(b'x', 1 << 62))
for flags in (2, 4, 8, 16, 32, 64, 1 << 15):
    say('pread flags', lambda: h.pread(512, 0, flags))
    say('trim flags', lambda: h.trim(512, 0, flags))
    say('flush flags', lambda: h.flush(flags))
    say('cache flags', lambda: h.cache(512, 0, flags))
say('write flags', lambda: h.pwrite(b'x' * 512, 0, 2))
say('zero flags', lambda: h.zero(512, 0, 4))
say('status without context', lambda: status(512, 0))
say('still there', lambda: h.pread(512, 0))
`;

const READ_ONLY = `
h.set_strict_mode(0)
say('read only', h.is_read_only)
say('write', lambda: h.pwrite(b'x' * 512, 0))
say('trim', lambda: h.trim(512, 0))
say('zero', lambda: h.zero(512, 0))
say('flush', h.flush)
say('read', lambda: h.pread(512, 0))
`;

/**
 * Where we differ: qemu-nbd 7.2 answers EINVAL to everything that cannot be; the protocol asks for ENOSPC where a write reaches beyond the
 * end, and for EPERM where the export is read-only, and so do we.
 */
function asTheirs(line: string): string {
  return line
    .replace(/^((?:zero|write beyond|write far beyond) ERROR) ENOSPC$/, '$1 EINVAL')
    .replace(/ EPERM$/, ' EINVAL');
}

async function nbdsh(uri: string, before: string, script: string): Promise<string[]> {
  const connect = `${before}\nh.connect_uri(${JSON.stringify(uri)})`;
  const stdout = await must('nbdsh', ['-c', PROLOGUE, '-c', connect, '-c', script, '-c', 'h.shutdown()']);
  return stdout.trimEnd().split('\n');
}

describe('nbdsh', function () {
  this.timeout(120_000);
  const bench = useNbd('nbdsh', 'qemu-nbd');

  /** Runs a script at both servers, each with its own copy; compares what is said, and what the images hold afterwards. */
  async function expectSame(before: string, script: string, offer: Offer = {}, words: string[] = ['--discard=unmap']) {
    for (const { file, format, name } of (await specimens(bench())).slice(0, 3)) {
      const [ours, theirs] = ['ours', 'theirs'].map((kind) => bench().path(`${kind}.${format}`));
      for (const copy of [ours, theirs]) copyFileSync(file, copy);
      const server = await bench().ours(ours, format, offer);
      const reference = await bench().qemuNbd(theirs, format, ...words);
      const said = await nbdsh(server.uri, before, script);
      expect(said.map(asTheirs), name).to.deep.equal(await nbdsh(reference.uri, before, script));
      await server.close();
      await bench().end(reference);
      await expectEqualContent(bench(), ours, theirs, format);
    }
  }

  it('gets the same answers to every command', () => expectSame('', COMMANDS));

  it('gets them with simple replies too', () => expectSame('h.set_request_structured_replies(False)', COMMANDS));

  it('reads in chunks and asks for block status as at qemu-nbd', async () => {
    const contexts = 'h.add_meta_context("base:allocation")\nh.add_meta_context("qemu:allocation-depth")';
    await expectSame(contexts, STRUCTURED, { allocationDepth: true }, ['-A']);
  });

  it('is refused with the same errors, and goes on', () => expectSame('', MISUSE));

  it('is refused writes of a read-only export', async () => {
    await expectSame('', READ_ONLY, { open: { readOnly: true } }, ['-r']);
  });
});

async function expectEqualContent(bench: NbdBench, ours: string, theirs: string, format: string): Promise<void> {
  const contents: Buffer[] = [];
  for (const file of [ours, theirs]) {
    const raw = bench.path('content.raw');
    await must('qemu-img', ['convert', '-f', format, '-O', 'raw', file, raw]);
    contents.push(readFileSync(raw));
    if (format === 'qcow2') expect(qemuCheck(file).status).to.equal(0);
  }
  expect(contents[0].equals(contents[1]), 'content').to.equal(true);
}
