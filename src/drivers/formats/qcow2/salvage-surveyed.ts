// The image that is surveyed (salvage-survey.ts), and what is noted of its entries: what they describe is lost, or doubtful.

import type { Child } from '../../../block/child.js';
import type { SalvageLog, SalvageReason } from '../../../block/salvage.js';
import type { Claims } from './salvage-claims.js';
import type { EntryRules } from './salvage-entries.js';
import type { SalvagedRefcounts } from './salvage-refcounts.js';
import type { TableReader } from './salvage-tables.js';
import type { Geometry } from './types.js';

/** What is surveyed. */
export interface SurveyedImage {
  file: Child;
  /** Bytes of the file. */
  end: number;
  geometry: Geometry;
  rules: EntryRules;
  /** Bytes of the disk. */
  size: number;
  claims: Claims;
  refcounts: SalvagedRefcounts;
  /** The refcounts may be out of date. */
  isDirty: boolean;
  tables: TableReader;
  log: SalvageLog;
  /** Everything that takes clusters is known but data: what is counted and not known is lost. */
  countsAll: boolean;
}

/** Places are L1 indexes and slots of L2 tables. `host` is where the image has what is noted; -1: nowhere. */
export class SurveyNotes {
  readonly #image: SurveyedImage;

  constructor(image: SurveyedImage) {
    this.#image = image;
  }

  /** All that L1 entry `index` describes. */
  loseSpan(index: number, reason: SalvageReason, host: number): void {
    const { geometry, log } = this.#image;
    const offset = index * geometry.l2Span;
    log.lost.add(offset, this.#cut(offset, geometry.l2Span), reason, host);
  }

  /** The same. */
  doubtSpan(index: number, reason: SalvageReason, host: number): void {
    const { geometry, log } = this.#image;
    const offset = index * geometry.l2Span;
    log.doubtful.add(offset, this.#cut(offset, geometry.l2Span), reason, host);
  }

  /** What entry `slot` of the table of `index` describes, from byte `lead` of the cluster on. `length`: default is up to its end. */
  lose(index: number, slot: number, lead: number, reason: SalvageReason, host: number, length?: number): void {
    const { geometry, log } = this.#image;
    const offset = index * geometry.l2Span + slot * geometry.clusterSize + lead;
    log.lost.add(offset, this.#cut(offset, length ?? geometry.clusterSize - lead), reason, host);
  }

  /** All that the entry describes. */
  doubt(index: number, slot: number, reason: SalvageReason, host: number): void {
    const { geometry, log } = this.#image;
    const offset = index * geometry.l2Span + slot * geometry.clusterSize;
    log.doubtful.add(offset, this.#cut(offset, geometry.clusterSize), reason, host);
  }

  #cut(offset: number, length: number): number {
    return Math.min(length, this.#image.size - offset);
  }
}
