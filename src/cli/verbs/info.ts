// `diskwright info`: prints format, sizes, backing file and more of an image.

import type { ImageInfo } from '../../schema/generated/types.js';
import { formatSize } from '../../util/size.js';
import { imageInfos } from '../../workspace/info.js';
import { FORCE_SHARE, HELP, IMAGE_OPTS, LONG_FORMAT, OBJECT, OUTPUT, outputFormat, someImages } from '../arguments.js';
import type { ParsedOptions } from '../getopt.js';
import { ordered, prettyJson } from '../json.js';
import { shown, write } from '../output.js';
import { forEachImage, imageArguments, ONE_BY_ONE, opener, withSession } from '../session.js';
import { SNAPSHOT_KEYS, snapshotList } from '../snapshot-list.js';
import { detailLines, inDetailOrder } from '../specific-details.js';
import type { Verb } from '../verb.js';

/** Order of the members in qemu-img's JSON. */
const INFO_KEYS = [
  'snapshots',
  'backing-filename-format',
  'virtual-size',
  'filename',
  'cluster-size',
  'format',
  'actual-size',
  'format-specific',
  'encrypted',
  'full-backing-filename',
  'backing-filename',
  'dirty-flag',
];
export const verb: Verb = {
  name: 'info',
  synopsis: '[-f FMT | --image-opts] [--output=FORMAT] [--backing-chain] [-U] FILENAME...',
  description:
    'Shows information about an image: its format, the size that a guest sees, the space that it takes on disk, its backing file, and what is ' +
    'specific to its format. Opens no file but the ones that are named, and with --backing-chain those of the chain.\n\n' +
    'With several images, the human output is separated by empty lines, the JSON output is an array. An image that cannot be opened is ' +
    'reported and left out.',
  options: [
    LONG_FORMAT,
    IMAGE_OPTS,
    OUTPUT,
    {
      key: 'backing-chain',
      long: 'backing-chain',
      help: 'Show all images of the backing chain, the top image first. JSON output is an array then.',
    },
    FORCE_SHARE,
    HELP,
    OBJECT,
  ],
  notes: [['Exit codes', '0  done\n1  an image could not be opened, or the options are wrong']],
  examples: [
    ['diskwright info disk.qcow2', 'for people'],
    ['diskwright info --output=json --backing-chain snap3.qcow2', 'for programs: an array, the top image first'],
    ['diskwright info -U running.qcow2', 'while a virtual machine writes to the image'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const images = someImages(options);
  const json = outputFormat(options) === 'json';
  const how = imageArguments(options);
  const chain = options.has('backing-chain');
  return withSession(
    options.all('object'),
    async (session) => {
      const infos: ImageInfo[] = [];
      const codes = await forEachImage(images, async (image) => {
        const found = await imageInfos(session.graph, image, how, chain, opener(session, how));
        if (!json) write(`${infos.length === 0 ? '' : '\n'}${found.map(humanInfo).join('\n')}`);
        infos.push(...found);
        return 0;
      });
      if (json) write(`${prettyJson(images.length === 1 && !chain ? inOrder(infos[0]) : infos.map(inOrder))}\n`);
      return Math.max(...codes);
    },
    ONE_BY_ONE,
  );
}

function inOrder(given: ImageInfo): object {
  const snapshots = given.snapshots?.map((one) => ordered(one, SNAPSHOT_KEYS));
  const info = { ...given, snapshots };
  const specific = info['format-specific'];
  if (specific === undefined) return ordered(info, INFO_KEYS);
  return ordered({ ...info, 'format-specific': { type: specific.type, data: inDetailOrder(specific) } }, INFO_KEYS);
}

function humanInfo(info: ImageInfo): string {
  const size = info['virtual-size'];
  const actual = info['actual-size'];
  const lines = [
    `image: ${shown(info.filename)}`,
    `file format: ${info.format}`,
    `virtual size: ${formatSize(size)} (${size} bytes)`,
    `disk size: ${actual === undefined ? 'unavailable' : formatSize(actual)}`,
  ];
  if (info.encrypted) lines.push('encrypted: yes');
  if (info['cluster-size'] !== undefined) lines.push(`cluster_size: ${info['cluster-size']}`);
  if (info['dirty-flag']) lines.push('cleanly shut down: no');
  if (info['backing-filename'] !== undefined) {
    const full = info['full-backing-filename'];
    const actualPath = full === info['backing-filename'] ? '' : ` (actual path: ${shown(full ?? '')})`;
    lines.push(`backing file: ${shown(info['backing-filename'])}${actualPath}`);
    if (info['backing-filename-format'] !== undefined) {
      lines.push(`backing file format: ${shown(info['backing-filename-format'])}`);
    }
  }
  lines.push(...snapshotList(info.snapshots ?? []));
  const specific = info['format-specific'];
  if (specific !== undefined) {
    lines.push('Format specific information:', ...detailLines(specific));
  }
  return `${lines.join('\n')}\n`;
}
