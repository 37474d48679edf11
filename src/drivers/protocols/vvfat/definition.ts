// The driver definition of vvfat: its names and options, and how a folder is opened.

import { isReadOnly } from '../../../block/node/read-only-format.js';
import type { DriverDefinition, OpenRequest } from '../../../block/registry.js';
import { pathBelow } from '../../../host/folder.js';
import type { HostFolder } from '../../../host/host.js';
import { formatJsonFilename } from '../../../schema/options.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError, toBlockError } from '../../../util/errors.js';
import { wordsOfErrno } from '../../../util/system-words.js';
import { VvfatNode } from './driver.js';
import { geometryOf } from './geometry.js';
import { layOut } from './layout.js';
import { parseFatName } from './name.js';
import { SHORT_NAME_BYTES } from './names.js';
import { refuseMounts, refuseOtherFileSystems } from './one-file-system.js';
import { scanFolder } from './scan.js';
import { Scratch } from './scratch.js';
import { warningOfLeft } from './temporary.js';

const DEFAULT_LABEL = 'QEMU VVFAT';

async function openFolder(request: OpenRequest<'vvfat'>): Promise<VvfatNode> {
  const { graph, node, options, autoReadOnly } = request;
  const { dir, 'fat-type': fatType = 0, floppy = false, label, rw = false } = options;
  const geometry = geometryOf(fatType, floppy);
  const volume = labelBytes(label ?? DEFAULT_LABEL);
  const filename = formatJsonFilename({
    driver: 'vvfat',
    dir,
    'fat-type': options['fat-type'],
    floppy: options.floppy,
    label,
    rw: options.rw,
  });
  if (rw && node.readOnly) {
    throw new BlockError('invalid-argument', "Unable to set VVFAT to 'rw' when drive is read-only", { path: dir });
  }
  if (!rw && !node.readOnly && !autoReadOnly) throw isReadOnly(filename);
  const folder = await openDirectory(request, dir);
  let scratch: Scratch | null = null;
  try {
    const scan = await scanFolder(folder, geometry, rw);
    const warning = warningOfLeft(scan.left.map((path) => pathBelow(folder.path, path)));
    if (warning !== null) graph.warn(warning);
    const regions = layOut(geometry, scan, volume);
    if (rw) refuseOtherFileSystems(folder, scan);
    if (rw) await refuseMounts(folder, 'open');
    if (rw) scratch = await Scratch.open(folder, () => graph.host.random(), geometry.diskSectors);
    const writing = scratch && { scratch, scan };
    return new VvfatNode(graph, { ...node, readOnly: !rw }, filename, folder, geometry, regions, writing);
  } catch (error) {
    await scratch?.close().catch(bestEffort('closing the scratch file of a folder'));
    await folder.close();
    throw error;
  }
}

async function openDirectory({ graph }: OpenRequest<'vvfat'>, dir: string): Promise<HostFolder> {
  try {
    return await graph.host.folders.open(dir);
  } catch (cause) {
    const { code, errno, message } = toBlockError(cause);
    const why = (errno !== undefined && wordsOfErrno(errno)) || message;
    throw new BlockError(code, `Could not read directory ${dir}: ${why}`, {
      path: dir,
      operation: 'open',
      errno,
      cause,
    });
  }
}

/** Throws `invalid-argument`. */
function labelBytes(label: string): Uint8Array {
  if (Buffer.byteLength(label) > SHORT_NAME_BYTES) {
    throw new BlockError('invalid-argument', 'vvfat label cannot be longer than 11 bytes');
  }
  if (!/^[\x20-\x7e]*$/.test(label)) {
    throw new BlockError('invalid-argument', 'vvfat label can only have characters of ASCII');
  }
  return Buffer.from(label.padEnd(SHORT_NAME_BYTES));
}

export const vvfatDriver: DriverDefinition<'vvfat'> = {
  name: 'vvfat',
  kind: 'protocol',
  names: { prefixes: ['fat'], parse: parseFatName, format: ({ dir }) => `fat:${dir}` },
  open: openFolder,
};
