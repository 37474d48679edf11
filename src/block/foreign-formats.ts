// Formats that QEMU would recognise and that have no driver here yet. They are recognised, too, so that such an image is refused
// by name and not taken for raw, and a guest of a probed raw image cannot make one.

interface Recogniser {
  name: string;
  /** How sure it is, 0 to 100; the numbers are on the scale of `DriverDefinition.probe`. */
  probe(head: Uint8Array, filename: string): number;
}

const magic = (name: string, text: string, at = 0): Recogniser => ({
  name,
  probe: (head) => (latin1(head, at, text.length) === text ? 100 : 0),
});

export const FOREIGN_FORMATS: readonly Recogniser[] = [
  { name: 'qcow', probe: (head) => (latin1(head, 0, 8) === 'QFI\xfb\0\0\0\x01' ? 100 : 0) },
  magic('qed', 'QED\0'),
  magic('vdi', '\x7f\x10\xda\xbe', 64),
  magic('vhdx', 'vhdxfile'),
  magic('vpc', 'conectix'),
  { name: 'vmdk', probe: (head) => (isVmdk(head) ? 100 : 0) },
  {
    name: 'parallels',
    probe: (head) =>
      ['WithoutFreeSpace', 'WithouFreSpacExt'].includes(latin1(head, 0, 16)) && latin1(head, 16, 4) === '\x02\0\0\0'
        ? 100
        : 0,
  },
  { name: 'bochs', probe: (head) => (isBochs(head) ? 100 : 0) },
  // Before cloop: the first of those that are equally sure is taken.
  { name: 'dmg', probe: (_head, filename) => (filename.length > 4 && filename.endsWith('.dmg') ? 2 : 0) },
  { name: 'cloop', probe: (head) => (latin1(head, 0, CLOOP.length) === CLOOP ? 2 : 0) },
];

const CLOOP = '#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n';

/** A comment, a blank, an empty line, `version`. */
const DESCRIPTOR_STARTS: readonly number[] = [...'# \r\nv'].map((first) => first.charCodeAt(0));

function isVmdk(head: Uint8Array): boolean {
  if (['KDMV', 'COWD'].includes(latin1(head, 0, 4))) return true;
  if (!DESCRIPTOR_STARTS.includes(head[0])) return false;
  // A text descriptor: comments and lines of blanks (an empty one does not count), then its version.
  return /^(?:(?:#[^\n]*| +\r?)\n)*version=[123]\r?\n/.test(latin1(head, 0, head.length));
}

function isBochs(head: Uint8Array): boolean {
  const field = (at: number): string => latin1(head, at, 16).split('\0', 1)[0]!;
  const version = latin1(head, 64, 4);
  return (
    latin1(head, 0, 32).split('\0', 1)[0] === 'Bochs Virtual HD Image' &&
    field(32) === 'Redolog' &&
    field(48) === 'Growing' &&
    (version === '\0\0\x02\0' || version === '\0\0\x01\0')
  );
}

/** One character a byte; shorter where `head` ends. */
function latin1(head: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...head.subarray(at, at + length));
}
