// `diskwright map`: lists the extents of an image.

import type { MapEntry } from '../../schema/generated/types.js';
import { BlockError } from '../../util/errors.js';
import { mapImage } from '../../workspace/map.js';
import type { ImageOpener } from '../../workspace/open.js';
import {
  FORCE_SHARE,
  HELP,
  IMAGE_OPTS,
  LONG_FORMAT,
  limitOption,
  OBJECT,
  OUTPUT,
  outputFormat,
  someImages,
} from '../arguments.js';
import type { ParsedOptions } from '../getopt.js';
import { isReaderGone, shown, write } from '../output.js';
import { forEachImage, imageArguments, ONE_BY_ONE, opener, withSession } from '../session.js';
import type { Verb } from '../verb.js';

/** Characters that are collected before they are written. */
const BATCH_LENGTH = 1 << 16;

export const verb: Verb = {
  name: 'map',
  synopsis: '[-f FMT | --image-opts] [-s OFFSET] [-l LEN] [--output=FORMAT] [-U] FILENAME...',
  description:
    'Lists the extents of an image: which ranges have data, which read as zeroes, which are not allocated, which layer of the backing chain ' +
    'has them, and at which offset of its file.\n\n' +
    'The human output lists data only, and fails where data is compressed. The JSON output lists everything: "depth" is the number of layers ' +
    'above the one that has the range, "present" is false where no layer has it. With several images, each human output is preceded by the ' +
    'image name, and the JSON output is an array of arrays. If one image cannot be opened or read, the others are still listed, and its array ' +
    'ends with null. Of a single image that cannot be read to its end, what was found before is printed, as by qemu-img: then the JSON has no end.',
  options: [
    LONG_FORMAT,
    IMAGE_OPTS,
    { key: 'start', short: 's', long: 'start-offset', argument: 'OFFSET', help: 'First byte (default 0).' },
    { key: 'length', short: 'l', long: 'max-length', argument: 'LEN', help: 'Number of bytes at most.' },
    OUTPUT,
    FORCE_SHARE,
    HELP,
    OBJECT,
  ],
  notes: [['Exit codes', '0  done\n1  an image could not be opened or read, or the options are wrong']],
  examples: [
    ['diskwright map disk.qcow2', 'the extents with data, with their offsets in the file'],
    ['diskwright map --output=json -s 1G -l 64M disk.qcow2', 'everything about 64 MiB of the image'],
  ],
  run,
};

async function run(options: ParsedOptions): Promise<number> {
  const start = limitOption(options, 'start', 'start offset') ?? 0;
  const length = limitOption(options, 'length', 'max length');
  const images = someImages(options);
  const json = outputFormat(options) === 'json';
  const how = imageArguments(options);
  return withSession(
    options.all('object'),
    async (session) => {
      const several = images.length > 1;
      if (several && json) write('[');
      const codes = await forEachImage(images, async (image, index) => {
        let opened = false;
        const open: ImageOpener = async (name, layer) => {
          const node = await opener(session, how)(name, layer);
          opened = true;
          return node;
        };
        const entries = mapImage(session.graph, image, how, { start, length }, open);
        if (json) {
          if (index > 0) write(',\n');
          await writeJson(entries, start, several, () => opened);
        } else {
          if (several) write(`${index === 0 ? '' : '\n'}${shown(image)}:\n`);
          await writeHuman(entries, image, () => opened);
        }
        return 0;
      });
      if (json) write(several ? ']\n' : '\n');
      return Math.max(...codes);
    },
    ONE_BY_ONE,
  );
}

/**
 * Writes one array. Where the image cannot be read to its end, it has what was found before: an array without its end, as with qemu-img, or, with `close`,
 * one that ends with null.
 */
async function writeJson(
  entries: AsyncIterable<MapEntry>,
  start: number,
  close: boolean,
  isOpen: () => boolean,
): Promise<void> {
  let text = '[';
  let first = true;
  try {
    for await (const entry of entries) {
      if (isReaderGone()) return;
      text += (first ? '' : ',\n') + jsonEntry(entry);
      first = false;
      if (text.length > BATCH_LENGTH) {
        write(text);
        text = '';
      }
    }
  } catch (error) {
    if (close || isOpen()) write(`${text}${first ? '' : ',\n'}${close ? 'null]' : ''}`);
    throw error;
  }
  if (first) text += jsonEntry({ start, length: 0, depth: 0, present: false, zero: false, data: false });
  write(`${text}]`);
}

function jsonEntry({ start, length, depth, present, zero, data, offset }: MapEntry): string {
  const place = offset === undefined ? '' : `, "offset": ${offset}`;
  return `{ "start": ${start}, "length": ${length}, "depth": ${depth}, "present": ${present}, "zero": ${zero}, "data": ${data}${place}}`;
}

/** Writes one table. Where the image cannot be read to its end, it has what was found before, as with qemu-img. */
async function writeHuman(entries: AsyncIterable<MapEntry>, image: string, isOpen: () => boolean): Promise<void> {
  let text = row('Offset', 'Length', 'Mapped to', 'File');
  try {
    for await (const entry of entries) {
      if (isReaderGone()) return;
      if (entry.data && entry.offset === undefined) throw hasNoOffset(image, entry);
      if (!entry.data || entry.zero) continue;
      text += row(hex(entry.start), hex(entry.length), hex(entry.offset!), shown(entry.filename ?? ''));
      if (text.length > BATCH_LENGTH) {
        write(text);
        text = '';
      }
    }
  } catch (error) {
    if (isOpen()) write(text);
    throw error;
  }
  write(text);
}

function hasNoOffset(image: string, { start }: MapEntry): BlockError {
  return new BlockError('unsupported', 'File contains external, encrypted or compressed clusters.', {
    path: image,
    offset: start,
    operation: 'map',
  });
}

function row(offset: string, length: string, mapped: string, file: string): string {
  return `${offset.padEnd(16)}${length.padEnd(16)}${mapped.padEnd(16)}${file}\n`;
}

/** As C prints `%#x`. */
function hex(value: number): string {
  return value === 0 ? '0' : `0x${value.toString(16)}`;
}
