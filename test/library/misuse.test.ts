// Wrong arguments to every call of the library: each is refused by name, before anything is touched. On the simulated host.

import { expect } from 'chai';
import { createSimHost, type SimHost } from '../../src/host/sim/index.js';
import type { Image } from '../../src/library/image.js';
import { v86Disk } from '../../src/library/v86.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

const SIZE = 1 << 16;
const FILES = ['/base', '/src', '/free'];

/** What a case works with. */
interface Bench {
  host: SimHost;
  workspace: Workspace;
  /** An overlay of `base`, open. */
  image: Image;
}
// biome-ignore lint/suspicious/noExplicitAny: what is tested is what TypeScript forbids.
type Wrong = any;
type Case = readonly [title: string, code: string, words: RegExp, call: (bench: Bench, wrong: Wrong) => unknown];

const bad = 'invalid-argument';
const unknown = 'unknown-option';

/** `w` is the workspace without types, `i` the image. */
// biome-ignore format: a table.
const CASES: readonly Case[] = [
  ['open without a name', bad, /'image', expected: string or object/, (_, w) => w.open()],
  ['open by a number', bad, /'image'.*not number/, (_, w) => w.open(7)],
  ['open with a misspelt option', unknown, /'settings.readonly' is unexpected.*'readOnly'/, (_, w) => w.open('/a', { readonly: true })],
  ['open with a switch that is none', bad, /'settings.readOnly', expected: boolean/, (_, w) => w.open('/a', { readOnly: 'yes' })],
  ['open with a mode that is none', bad, /'settings.discard' does not accept value 'unmapp'.*'unmap'/, (_, w) => w.open('/a', { discard: 'unmapp' })],
  ['open with a cache option that is none', unknown, /'settings.cache.noflush' is unexpected.*'noFlush'/, (_, w) => w.open('/a', { cache: { noflush: true } })],
  ['open with options that are none', bad, /'settings', expected: object/, (_, w) => w.open('/a', true)],
  ['open with inherited options', bad, /'settings', expected: a plain object/, (_, w) => w.open('/a', Object.create({ readOnly: true }))],
  ['open with a NUL in the name', bad, /contains a NUL/, (_, w) => w.open('/a\0b')],
  ['open by options with a misspelt member', unknown, /'file.filenam' is unexpected.*'filename'|'file.filename' is missing/, (_, w) => w.open({ driver: 'raw', file: { driver: 'file', filename: '/a', filenam: 1 } })],
  ['open by options of an unknown driver', bad, /'driver' does not accept value 'qcow3'.*'qcow2'/, (_, w) => w.open({ driver: 'qcow3', file: 'x' })],
  ['open by options, and a format', bad, /'format' goes with a file name/, (_, w) => w.open({ driver: 'raw', file: { driver: 'file', filename: '/a' } }, { format: 'raw' })],
  ['info with a misspelt option', unknown, /'settings.backing-chain' is unexpected.*'backingChain'/, (_, w) => w.info('/a', { 'backing-chain': true })],
  ['map with a misspelt option', unknown, /'settings.fromat'.*'format'/, (_, w) => w.map('/a', { fromat: 'raw' }).next()],
  ['create with a format in place of a driver', unknown, /'format'.*'driver'/, (_, w) => w.create('/b', { format: 'qcow2', size: 1 })],
  ['check with a misspelt option', unknown, /'settings.forceshare'.*'forceShare'/, (_, w) => w.check('/a', { forceshare: true })],
  ['convert an image that is open', bad, /'source' is a file name or options, not an open Image/, ({ image }, w) => w.convert(image, '/free.raw')],
  ['compare an image that is open', bad, /'a' is a file name or options, not an open Image/, ({ image }, w) => w.compare(image, '/a')],
  ['compare with a misspelt option', unknown, /'settings.strikt'.*'strict'/, (_, w) => w.compare('/a', '/a', { strikt: true })],
  ['compare with one image', bad, /'b', expected/, (_, w) => w.compare('/a')],
  ['compare with a signal that is none', bad, /'settings.signal', expected: AbortSignal/, (_, w) => w.compare('/a', '/a', { signal: {} })],
  ['create without options', bad, /'options', expected: object/, (_, w) => w.create('/free')],
  ['create of an unknown format', bad, /Unknown file format 'qcow3'/, (_, w) => w.create('/free', { driver: 'qcow3', size: SIZE })],
  ['create of a protocol', 'unsupported', /'nbd' does not support image creation/, (_, w) => w.create('/free', { driver: 'nbd', size: SIZE })],
  ['create with a misspelt option', unknown, /'cluster_sise' is unexpected.*'cluster-size'/, (_, w) => w.create('/free', { driver: 'qcow2', size: SIZE, cluster_sise: 4096 })],
  ['create without a size', bad, /'size' is missing/, (_, w) => w.create('/free', { driver: 'qcow2' })],
  ['create with a negative size', bad, /'size'/, (_, w) => w.create('/free', { driver: 'raw', size: -1 })],
  ['create with a cluster size that is none', bad, /Cluster size must be a power of two/, (_, w) => w.create('/free', { driver: 'qcow2', size: SIZE, 'cluster-size': 3000 })],
  ['create with a cluster size that is none, and says for which file', bad, /^\/free: Cluster size/, (_, w) => w.create('/free', { driver: 'qcow2', size: SIZE, 'cluster-size': 3000 })],
  ['resize with a misspelt option', unknown, /^resize: option 'foo' is unexpected/, ({ image }) => image.resize(SIZE, { foo: 1 } as never)],
  ['commit of an image open for writing that is to be emptied', 'permission', /'\/a' is open for writing: only an image that is open read-only/, ({ image }, w) => w.commit(image, { base: '/base', empty: true })],
  ['backup to a new image with a cluster size that is none', bad, /^\/free: Cluster size/, ({ image }, w) => w.backup(image, '/free', { create: { driver: 'qcow2', 'cluster-size': 3000 } })],
  ['create of an image beyond the format', 'limit', /too large for file format/, (_, w) => w.create('/free', { driver: 'qcow2', size: 2 ** 50, 'cluster-size': 512 })],
  ['create of raw with preallocated metadata', bad, /preallocation mode: metadata/, (_, w) => w.create('/free', { driver: 'raw', size: SIZE, preallocation: 'metadata' })],
  ['create with a backing format but no file', bad, /without backing file/, (_, w) => w.create('/free', { driver: 'qcow2', size: SIZE, 'backing-fmt': 'raw' })],
  ['create without a name', bad, /'filename', expected: string/, (_, w) => w.create(undefined, { driver: 'raw', size: SIZE })],
  ['convert to a name that says no format', bad, /'\/free' does not imply a format.*'driver'/, (_, w) => w.convert('/src', '/free')],
  ['convert to a suffix of no format', bad, /'\/free.iso' does not imply a format/, (_, w) => w.convert('/src', '/free.iso', {})],
  ['convert to a format by its name alone', bad, /Unknown file format 'qcow3'/, (_, w) => w.convert('/src', '/free', 'qcow3')],
  ['convert with a misspelt setting', unknown, /'settings.compres'.*'compress'/, (_, w) => w.convert('/src', '/free', { create: { driver: 'qcow2' }, compres: true })],
  ['convert to an unknown format', bad, /Unknown file format 'qcow3'/, (_, w) => w.convert('/src', '/free', { create: { driver: 'qcow3' } })],
  ['convert with a cluster size that is none', bad, /Cluster size/, (_, w) => w.convert('/src', '/free', { create: { driver: 'qcow2', 'cluster-size': 3000 } })],
  ['convert compressed to raw', bad, /Compression not supported/, (_, w) => w.convert('/src', '/free', { create: { driver: 'raw' }, compress: true })],
  ['convert to a smaller image', bad, /smaller than the source/, (_, w) => w.convert('/src', '/free', { create: { driver: 'raw', size: 512 } })],
  ['convert with odd runs of zeroes', bad, /sparse/, (_, w) => w.convert('/src', '/free', { create: { driver: 'raw' }, sparseSize: 3 })],
  ['convert with too many requests', bad, /'settings.parallel'.*16/, (_, w) => w.convert('/src', '/free', { create: { driver: 'raw' }, parallel: 17 })],
  ['convert with a misspelt option of its source', unknown, /'settings.source.forceshare'/, (_, w) => w.convert('/src', '/free', { create: { driver: 'raw' }, source: { forceshare: true } })],
  ['snapshot of a name', bad, /^Invalid parameter type for 'image', expected: Image, not string/, (_, w) => w.snapshot('/a', '/s')],
  ['snapshot without a file', bad, /'file', expected: string/, ({ image }, w) => w.snapshot(image)],
  ['snapshot with a misspelt setting', unknown, /'settings.nodename'.*'nodeName'/, ({ image }, w) => w.snapshot(image, '/s', { nodename: 'x' })],
  ['snapshot with an unknown mode', bad, /'settings.mode' does not accept value 'exist'.*'existing'/, ({ image }, w) => w.snapshot(image, '/base', { mode: 'exist' })],
  ['snapshots that are no list', bad, /'orders', expected: array/, (_, w) => w.snapshots({})],
  ['stream with a misspelt base', unknown, /'settings.bas' is unexpected.*'base'/, ({ image }, w) => w.stream(image, { bas: '/base' })],
  ['stream with an empty base', 'not-found', /Can't find ''/, ({ image }, w) => w.stream(image, { base: '' })],
  ['stream down to itself', bad, /is not a backing image of/, ({ image }, w) => w.stream(image, { base: image.filename })],
  ['stream with a speed that is text', bad, /'settings.speed', expected: integer/, ({ image }, w) => w.stream(image, { speed: '5M' })],
  ['stream with an unknown policy', bad, /'settings.onError' does not accept value 'ignor'.*'ignore'/, ({ image }, w) => w.stream(image, { onError: 'ignor' })],
  ['stream of a name', bad, /'image', expected: Image, not string/, (_, w) => w.stream('/a')],
  ['stream with a job id that is none', bad, /Invalid job ID '7'/, ({ image }, w) => w.stream(image, { jobId: '7' })],
  ['commit with a misspelt top', unknown, /'settings.topp'.*'top'/, ({ image }, w) => w.commit(image, { topp: '/a' })],
  ['commit with a priority beyond', bad, /'settings.priority'.*0 to 9/, ({ image }, w) => w.commit(image, { priority: 10 })],
  ['commit of nothing', bad, /'image', expected: Image/, (_, w) => w.commit()],
  ['mirror to a file that is not there', 'not-found', /free/, ({ image }, w) => w.mirror(image, '/nowhere/free')],
  ['mirror to a new image with a size of its own', bad, /'settings.create.size' cannot be given/, ({ image }, w) => w.mirror(image, '/free.raw', { create: { size: 5 } })],
  ['mirror to a new image by options', bad, /'target', expected: string: the name of the file that is made, not Object/, ({ image }, w) => w.mirror(image, { driver: 'file', filename: '/free' }, { create: { driver: 'raw' } })],
  ['mirror in the spelling of QAPI', unknown, /'settings.copy-mode' is unexpected.*'copyMode'/, ({ image }, w) => w.mirror(image, '/base', { 'copy-mode': 'background' })],
  ['mirror with a signal that is none', bad, /'settings.signal', expected: AbortSignal/, ({ image }, w) => w.mirror(image, '/base', { signal: {} })],
  ['mirror with an unknown sync', bad, /'settings.sync' does not accept value 'ful'.*'full'/, ({ image }, w) => w.mirror(image, '/base', { sync: 'ful' })],
  ['mirror with a granularity that is none', bad, /granularity.*range/, ({ image }, w) => w.mirror(image, '/base', { sync: 'full', granularity: 3 })],
  ['mirror with a granularity between', bad, /granularity.*power of 2/, ({ image }, w) => w.mirror(image, '/base', { sync: 'full', granularity: 5000 })],
  ['mirror with a filter', unknown, /filterNodeName/, ({ image }, w) => w.mirror(image, '/base', { sync: 'full', filterNodeName: 'f' })],
  ['mirror with a bitmap mode but no bitmap', bad, /without a bitmap/, ({ image }, w) => w.mirror(image, '/base', { sync: 'full', bitmapMode: 'always' })],
  ['mirror without a target', bad, /'target', expected: string or object/, ({ image }, w) => w.mirror(image, undefined, { sync: 'full' })],
  ['mirror to a target of another size', bad, /^Source and target image have different sizes$/, async ({ image, workspace }, w) => {
    await workspace.create('/small', { driver: 'raw', size: SIZE / 2 });
    await w.mirror(image, '/small', { sync: 'full', format: 'raw' });
  }],
  ['mirror to itself', 'locked', /^The target '\/a' is the source '\/a' itself$/, ({ image }, w) => w.mirror(image, '/a', { sync: 'full' })],
  ['backup to its own base', 'locked', /^The target '\/base' is '\/base', which is in the backing chain of the source '\/a'$/, ({ image }, w) => w.backup(image, '/base', { sync: 'full', format: 'raw' })],
  ['backup with an unknown sync', bad, /'settings.sync' does not accept value 'ful'.*'full'/, ({ image }, w) => w.backup(image, '/base', { sync: 'ful' })],
  ['backup compressed to raw', bad, /^Compression not supported/, ({ image }, w) => w.backup(image, '/free.raw', { create: { compress: true } })],
  ['backup with a format beside a new image', bad, /'settings.format' is that of an existing target/, ({ image }, w) => w.backup(image, '/free.raw', { create: {}, format: 'raw' })],
  ['backup of a name', bad, /^Invalid parameter type for 'image'/, (_, w) => w.backup('/a', '/base', { sync: 'full' })],
  ['backup without a target', bad, /^Invalid parameter type for 'target'/, ({ image }, w) => w.backup(image, undefined, { sync: 'full' })],
  ['backups without a target', bad, /^Parameter 'requests\[0\].target' is missing/, ({ image }, w) => w.backups([{ image }])],
  ['backup with a chunk that is none', bad, /max-chunk/, ({ image }, w) => w.backup(image, '/base', { sync: 'full', maxChunk: 1 })],
  ['backup with a misspelt performance option', unknown, /maxChunks.*'maxChunk'/, ({ image }, w) => w.backup(image, '/base', { sync: 'full', maxChunks: 0 })],
  ['backup with an unknown policy for guests', bad, /'settings.onCbwError'/, ({ image }, w) => w.backup(image, '/base', { sync: 'full', onCbwError: 'break' })],
  ['backups that are no list', bad, /'requests', expected: array/, ({ image }, w) => w.backups({ image })],
  ['serve of nothing', bad, /'image', expected: Image/, (_, w) => w.serve()],
  ['serve with a misspelt option', unknown, /'settings.readonly'.*'readOnly'/, ({ image }, w) => w.serve(image, { path: '/s', readonly: true })],
  ['serve at two addresses', bad, /either a path or a host/, ({ image }, w) => w.serve(image, { path: '/s', port: 7 })],
  ['serve at a port beyond', bad, /'settings.port'.*65535/, ({ image }, w) => w.serve(image, { port: 65536 })],
  ['serve with TLS of no kind', bad, /'settings.tls.kind' is missing/, ({ image }, w) => w.serve(image, { path: '/s', tls: { verifyPeer: true } })],
  ['serve with a certificate that is text', bad, /'settings.tls.cert', expected: Uint8Array/, ({ image }, w) => w.serve(image, { path: '/s', tls: { kind: 'x509', verifyPeer: true, cert: 'PEM' } })],
  ['addObject of nothing', bad, /'object', expected: object/, (_, w) => w.addObject()],
  ['addObject with a misspelt member', unknown, /'fil'/, (_, w) => w.addObject({ 'qom-type': 'secret', id: 's', fil: '/k' })],
  ['removeObject by a number', bad, /'id', expected: string/, (_, w) => w.removeObject(7)],
  ['a workspace without a host', bad, /'host', expected: Host/, () => new (Workspace as Wrong)()],
  ['a workspace with a misspelt option', unknown, /'settings.jobsperdisk'.*'jobsPerDisk'/, ({ host }) => new (Workspace as Wrong)(host, { jobsperdisk: 1 })],
  ['a workspace with a gate that is none', bad, /'settings.gate', expected: OpenGate/, ({ host }) => new (Workspace as Wrong)(host, { gate: () => true })],
  ['limit with a misspelt limit', unknown, /'iops' is unexpected|'bps_total'.*'bps-total'/, ({ image }) => image.limit({ bps_total: 5 } as Wrong)],
  ['limit with text', bad, /'bps-total', expected: integer/, ({ image }) => image.limit({ 'bps-total': '5M' } as Wrong)],
  ['limit with nothing', bad, /'limits', expected: object/, ({ image }) => (image as Wrong).limit()],
  ['addBitmap without a name', bad, /'name', expected: string/, ({ image }) => (image as Wrong).addBitmap()],
  ['addBitmap with a granularity that is text', bad, /'options/, ({ image }) => (image as Wrong).addBitmap('b', '64k')],
  ['merge of a name', bad, /'sources\[0\]', expected: Bitmap/, ({ image }) => image.addBitmap('b').merge('c' as Wrong)],
  ['removeBitmap of none', 'not-found', /'b' not found/, ({ image }) => image.removeBitmap('b')],
  ['a disk of v86 without an image', bad, /'image', expected: Image/, () => v86Disk('/a' as Wrong)],
  ['a disk of v86 with an unknown cache', bad, /'settings.cache'.*'writeback'/, ({ image }) => v86Disk(image, { cache: 'writebak' } as Wrong)],
  ['a disk of v86 with a time that is text', bad, /'settings.flushEveryMs'/, ({ image }) => v86Disk(image, { cache: 'writeback', flushEveryMs: '5' } as Wrong)],
  ['attach of no emulator', bad, /'emulator.stop', expected: function/, ({ image }) => v86Disk(image).attach(null as Wrong)],
];

describe('misuse of the library', () => {
  for (const [title, code, words, call] of CASES) {
    it(`is refused by name: ${title}`, async () => {
      const host = createSimHost({});
      await host.run(async () => {
        const workspace = new Workspace(host);
        for (const name of FILES) {
          await workspace.create(name, { driver: 'raw', size: SIZE });
          const file = await workspace.open(name, { format: 'raw' });
          await file.write(0, new Uint8Array(SIZE).fill(7));
          await file.close();
        }
        await workspace.create('/a', { driver: 'qcow2', size: SIZE, 'backing-file': '/base', 'backing-fmt': 'raw' });
        const image = await workspace.open('/a');
        const before = FILES.map((name) => host.readFile(name));
        const error = await failureOf((async () => call({ host, workspace, image }, workspace))());
        expect(error.message).to.match(words);
        expect(error.code).to.equal(code);
        // Nothing was touched, and nothing is left: the same image takes a request, and all closes.
        expect(FILES.map((name) => host.readFile(name))).to.deep.equal(before);
        await image.write(0, new Uint8Array(512));
        await workspace.close();
      });
    });
  }
});
