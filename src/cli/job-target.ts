// The target of `mirror` and `backup`, as QMP's drive-mirror and drive-backup make it: created like the source, or there already.

import { backingOf } from '../block/chain.js';
import { createImage } from '../block/create.js';
import type { BlockNode } from '../block/node.js';
import type { MirrorSyncMode } from '../schema/generated/types.js';
import { CACHE, type CacheMode, cacheMode, choiceOption } from './arguments.js';
import { nameFrom } from './chain-names.js';
import { type CreateValues, creatableFormat, imageCreateOptions, parseCreateOptions } from './create-options.js';
import { type OptionSpec, type ParsedOptions, UsageError } from './getopt.js';
import { reportError } from './output.js';
import { openImage, type Session } from './session.js';
import { creationFailure } from './verbs/create.js';

export const TARGET_OPTIONS: readonly OptionSpec[] = [
  { key: 'target', long: 'target', argument: 'FILENAME', help: 'Where the copy goes. Needed.' },
  { key: 'target-format', long: 'format', argument: 'FMT', help: 'Format of the target: raw or qcow2 (default).' },
  {
    key: 'mode',
    long: 'mode',
    argument: 'MODE',
    help: 'absolute-paths (default): make the target; a file that is there is replaced. existing: it is there.',
  },
  {
    key: 'options',
    short: 'o',
    argument: 'OPTIONS',
    help: 'Options of the new target, as for create: cluster_size=..., compression_type=...',
  },
  CACHE,
];

export interface Target {
  name: string;
  format: string;
  existing: boolean;
  values: CreateValues;
  cache: CacheMode;
}

/** Reads the options above. */
export function targetOf(options: ParsedOptions): Target {
  const name = options.get('target');
  if (name === undefined) throw new UsageError("Parameter '--target' is missing", true);
  const format = creatableFormat(options.get('target-format') ?? 'qcow2');
  const mode = choiceOption(options, 'mode', ['absolute-paths', 'existing']) ?? 'absolute-paths';
  if (mode === 'existing' && options.has('options')) {
    throw new UsageError('-o has no effect when the target exists');
  }
  const cache = cacheMode(options, 'cache', 'cache', 'writeback');
  if (cache.writethrough) throw new UsageError(`cache mode '${options.get('cache')}' is not supported yet`);
  return {
    name,
    format,
    existing: mode === 'existing',
    values: parseCreateOptions(format, options.all('options')),
    cache,
  };
}

/**
 * The target, opened for writing; null after its failure has been reported. For `sync` top it is made as an overlay of the source's backing file,
 * for none of the source itself.
 */
export async function openTarget(
  session: Session,
  source: BlockNode,
  target: Target,
  sync: MirrorSyncMode,
): Promise<BlockNode | null> {
  const { name, format, cache } = target;
  if (!target.existing) {
    const values = new Map(target.values);
    if (values.has('size'))
      throw new UsageError("the target has the size of the source: option 'size' cannot be given");
    values.set('size', String(source.length));
    const base = sync === 'top' ? backingOf(source) : sync === 'none' ? source : null;
    if (base !== null) {
      if (format !== 'qcow2')
        throw new UsageError(`--sync=${sync} needs a target format with backing files, not '${format}'`);
      values.set('backing_file', nameFrom(name, base));
      values.set('backing_fmt', base.driver);
    }
    try {
      await createImage(session.graph, name, imageCreateOptions(format, values));
    } catch (error) {
      reportError(`${name}: ${creationFailure(name, error)}`);
      return null;
    }
  }
  return openImage(session, name, { format, writable: true, cache, discard: 'unmap', backing: sync !== 'none' });
}
