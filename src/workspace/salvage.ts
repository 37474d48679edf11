// Salvages a damaged image: opens it as far as it can be, and converts it into a new one.

import type { Graph } from '../block/graph.js';
import type { OpenOptions } from '../block/open.js';
import { type SalvageHints, SalvageLog, type SalvageReport } from '../block/salvage.js';
import { refuseAborted } from '../util/abort.js';
import { type ConvertPlan, type ConvertStage, convertImage } from './convert.js';
import { type ImageOpener, type ImageSource, openToRead, releaseImage } from './open.js';

/** `survey`: the damaged image is opened and looked through. */
export type SalvageStage = 'survey' | ConvertStage;

export interface SalvagePlan
  extends Omit<ConvertPlan, 'source' | 'onStage' | 'salvage' | 'onSalvaged' | 'copyRange' | 'overlay' | 'create'> {
  image: ImageSource;
  /** How it is opened. */
  how: OpenOptions;
  hints: SalvageHints;
  /** Returns the options of the image to be created, for the size of the disk in bytes. */
  create: NonNullable<ConvertPlan['create']>;
  /** Default: `openToRead`, so that nobody writes to it meanwhile. */
  openDamaged?: ImageOpener;
  onStage?: (stage: SalvageStage) => void;
  /** Called while the image is looked through: bytes that are done, of the file or of the disk. */
  onSurvey?: (done: number, total: number) => void;
}

/**
 * Writes what can be read of a damaged image into a new one, and resolves with what is lost. The image is only read. Rejects as `convertImage`, with
 * `unsupported` for a format that cannot be salvaged, and with `invalid-image` where nothing is left to begin with.
 */
export async function salvageImage(graph: Graph, plan: SalvagePlan): Promise<SalvageReport> {
  const { image, how, hints, openDamaged, onStage, onSurvey, ...copy } = plan;
  const log = new SalvageLog();
  const salvage = {
    hints,
    log,
    onSurvey: (done: number, total: number): void => {
      refuseAborted(copy.signal);
      onSurvey?.(done, total);
    },
  };
  onStage?.('survey');
  const open = openDamaged ?? ((name, options) => openToRead(graph, name, options, 'copy'));
  const source = await open(image, { ...how, salvage });
  try {
    await convertImage(graph, { ...copy, source, onStage, salvage: true });
    return log.report(source.length, source.clusterBytes);
  } finally {
    await releaseImage(graph, source);
  }
}
