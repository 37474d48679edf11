// Who holds an image, and who comes then: each holder with each comer. `io`, `nbd` and `daemon` are qemu-io, qemu-nbd and
// qemu-storage-daemon, or ours. FOLDER is where the images lie.

const QCOW2 = '--blockdev driver=file,node-name=f,filename=a.qcow2 --blockdev driver=qcow2,node-name=q,file=f';
const READ_ONLY =
  '--blockdev driver=file,node-name=f,filename=a.qcow2,read-only=on --blockdev driver=qcow2,node-name=q,file=f,read-only=on';
const RAW = '--blockdev driver=file,node-name=f,filename=a.raw --blockdev driver=raw,node-name=r,file=f';
const SERVER = '--nbd-server addr.type=unix,addr.path=FOLDER/s';
const COMING_SERVER = '--nbd-server addr.type=unix,addr.path=FOLDER/t';
/** Ours lets nobody else write to a raw image that it serves so. */
const SERVED_RAW = ['nbd -t -f raw -k FOLDER/s a.raw', 'nbd -t -e 2 -f raw -k FOLDER/s a.raw'];
/** Others that write to a raw image, and let others write. */
const WRITING_TO_RAW = [
  'io -f raw a.raw',
  'io --image-opts driver=raw,file.driver=file,file.filename=a.raw,file.locking=on',
  'io --image-opts driver=raw,size=65536,file.driver=file,file.filename=a.raw',
];
const EXPORTED_RAW = `daemon ${RAW} ${SERVER} --export type=nbd,id=e,node-name=r,writable=on`;
const NBD_TO_RAW = 'nbd -t -f raw -k FOLDER/t a.raw';
const EMPTIES_RAW = 'create -f raw a.raw 1M';
/** It is refused by whoever serves the image, by one lock or by another. */
const RESIZES_RAW = 'resize -f raw a.raw +64k';
/** Comers that write to the raw image, without changing its size. */
const WRITERS_TO_RAW = [
  'io -f raw a.raw :length',
  'io --image-opts driver=raw,size=65536,offset=65536,file.driver=file,file.filename=a.raw :length',
  `daemon ${RAW} ${COMING_SERVER} --export type=nbd,id=e,node-name=r,writable=on`,
];

/** Command lines that open images and stay. */
export const HOLDERS: readonly string[] = [
  // one image, each lock mode
  'io -f qcow2 a.qcow2',
  'io -r -f qcow2 a.qcow2',
  'io -U -r -f qcow2 a.qcow2',
  'io --image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2,file.locking=on',
  'io --image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2,file.locking=auto',
  'io --image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2,file.locking=off',
  'io -r --image-opts driver=qcow2,force-share=on,read-only=on,file.driver=file,file.filename=a.qcow2',
  // raw images: all of the file, and a part
  ...WRITING_TO_RAW,
  'io -r -f raw a.raw',
  'io -U -r -f raw a.raw',
  // chains
  'io -f qcow2 b.qcow2',
  'io -r -f qcow2 b.qcow2',
  'io -s -f qcow2 a.qcow2',
  // a server, with nodes that nobody uses
  'daemon --blockdev driver=file,node-name=f,filename=a.qcow2 --blockdev driver=qcow2,node-name=q,file=f',
  'daemon --blockdev driver=file,node-name=f,filename=a.qcow2,read-only=on --blockdev driver=qcow2,node-name=q,file=f,read-only=on',
  'daemon --blockdev driver=file,node-name=f,filename=a.qcow2,locking=off --blockdev driver=qcow2,node-name=q,file=f',
  'daemon --blockdev driver=file,node-name=f,filename=a.raw --blockdev driver=raw,node-name=r,file=f',
  // a server whose nodes are exported
  `daemon ${QCOW2} ${SERVER} --export type=nbd,id=e,node-name=q`,
  `daemon ${QCOW2} ${SERVER} --export type=nbd,id=e,node-name=q,writable=on`,
  `daemon ${READ_ONLY} ${SERVER} --export type=nbd,id=e,node-name=q`,
  `daemon ${RAW} ${SERVER} --export type=nbd,id=e,node-name=r`,
  EXPORTED_RAW,
  // one image and one server
  'nbd -t -f qcow2 -k FOLDER/s a.qcow2',
  'nbd -t -r -f qcow2 -k FOLDER/s a.qcow2',
  'nbd -t -s -f qcow2 -k FOLDER/s a.qcow2',
  ...SERVED_RAW,
  'nbd -t -r -f raw -k FOLDER/s a.raw',
];

/** Command lines that come while it is held: of qemu-img, or of qemu-io (`io`; what stands behind a colon is a command of it). */
export const COMERS: readonly string[] = [
  'info a.qcow2',
  'info -U a.qcow2',
  'info --backing-chain b.qcow2',
  'check a.qcow2',
  'check -U a.qcow2',
  'check -r all a.qcow2',
  'map --output=json a.qcow2',
  'map -U --output=json b.qcow2',
  'compare a.qcow2 b.qcow2',
  'compare -U a.qcow2 a.qcow2',
  'snapshot -l a.qcow2',
  'snapshot -U -l a.qcow2',
  'snapshot -c x a.qcow2',
  'snapshot -d x a.qcow2',
  'bitmap --add a.qcow2 m',
  'amend -o lazy_refcounts=on a.qcow2',
  'resize a.qcow2 +1M',
  'resize --shrink b.qcow2 2M',
  RESIZES_RAW,
  'convert -O raw a.qcow2 x',
  'convert -U -O raw b.qcow2 x',
  'convert -n -O qcow2 d.qcow2 a.qcow2',
  'convert -f raw -O raw a.raw x',
  'dd -f raw -O raw if=a.raw of=y',
  'measure -O qcow2 a.qcow2',
  'commit b.qcow2',
  'commit -b a.qcow2 c.qcow2',
  'rebase -b d.qcow2 -F qcow2 b.qcow2',
  'rebase -u -b a.qcow2 -F qcow2 b.qcow2',
  'create -f qcow2 a.qcow2 1M',
  'create -f qcow2 -b a.qcow2 -F qcow2 z.qcow2',
  'bench -c 1 -f qcow2 a.qcow2',
  'bench -w -c 1 -f qcow2 a.qcow2',
  'io -f qcow2 a.qcow2 :length',
  'io -r -f qcow2 a.qcow2 :length',
  'io -U -r -f qcow2 a.qcow2 :length',
  'io -U -f qcow2 a.qcow2 :length',
  'io -r -f qcow2 b.qcow2 :length',
  'io -f qcow2 b.qcow2 :length',
  'io -f qcow2 c.qcow2 :length',
  'io -s -f qcow2 a.qcow2 :length',
  'io -r -f raw a.raw :length',
  'io --image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2,file.locking=off :length',
  'io --image-opts driver=qcow2,file.driver=file,file.filename=a.qcow2,file.locking=on :length',
  'io --image-opts driver=qcow2,read-only=on,force-share=on,file.driver=file,file.filename=a.qcow2 :length',
  'io -U -r -f raw a.raw :length',
  `daemon ${QCOW2}`,
  `daemon ${READ_ONLY}`,
  `daemon ${RAW}`,
  `daemon ${QCOW2} ${COMING_SERVER} --export type=nbd,id=e,node-name=q,writable=on`,
  `daemon ${RAW} ${COMING_SERVER} --export type=nbd,id=e,node-name=r`,
  ...WRITERS_TO_RAW,
  'nbd -t -f qcow2 -k FOLDER/t a.qcow2',
  'nbd -t -r -f qcow2 -k FOLDER/t a.qcow2',
  NBD_TO_RAW,
  'nbd -t -r -f raw -k FOLDER/t a.raw',
  // It empties the image where it is taken.
  EMPTIES_RAW,
];

/**
 * Whether a lock of ours may refuse a comer that QEMU's tools let in: on purpose, we serve a raw image over NBD alone (docs/nbd.md), and do not empty one below a program that writes
 * to it (docs/qemu-img.md).
 */
export function mayRefuse(holder: string, isOurHolder: boolean, comer: string, isOurComer: boolean): boolean {
  const writes = [...WRITING_TO_RAW, EXPORTED_RAW, ...SERVED_RAW].includes(holder);
  if (isOurComer && writes && (comer === NBD_TO_RAW || comer === EMPTIES_RAW)) return true;
  const locked = [...WRITERS_TO_RAW, NBD_TO_RAW, EMPTIES_RAW, RESIZES_RAW];
  return isOurHolder && SERVED_RAW.includes(holder) && locked.includes(comer);
}
