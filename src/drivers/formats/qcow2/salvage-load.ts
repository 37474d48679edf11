// Prepares the reading of a damaged image whose layout is known: which clusters are metadata, which tables and entries can be used, and how content is decrypted.

import { readingUse, withLink } from '../../../block/child.js';
import type { OpenRequest, SalvageOrder } from '../../../block/registry.js';
import { SalvageLog } from '../../../block/salvage.js';
import { BlockError } from '../../../util/errors.js';
import { roundDown } from '../../../util/numbers.js';
import { formatSize } from '../../../util/size.js';
import { CRYPT_AES } from '../encryption/legacy-aes.js';
import { MAX_SNAPSHOT_L1_BYTES } from './check-tables.js';
import { CRYPT_LUKS, encodePointer, type ImageEncryption, openEncryption } from './crypt.js';
import { Extension } from './header.js';
import { Claims } from './salvage-claims.js';
import { type EntryRules, entryBytes } from './salvage-entries.js';
import { areaOf, type SalvagedHeader } from './salvage-header.js';
import { type Layout, layoutByShape } from './salvage-layout.js';
import type { SalvagedNode } from './salvage-node.js';
import { eachTableCluster, exactSize } from './salvage-read.js';
import { SalvagedRefcounts } from './salvage-refcounts.js';
import { Survey } from './salvage-survey.js';
import { TableReader } from './salvage-tables.js';
import { type Snapshot, tableBytes } from './snapshot-table.js';
import { MAX_L1_BYTES, makeGeometry, SECTOR } from './types.js';

/** What is known of the image before its tables are looked into. */
export interface FoundImage {
  header: SalvagedHeader;
  layout: Layout;
  snapshots: readonly Snapshot[];
  /** There is a backing file, and it is not read. */
  isBackingLost: boolean;
}

type Request = OpenRequest<'qcow2'>;

/** Surveys the image, and shows its disk in `node`. Rejects as `openEncryption`, and where the caller gave up. */
export async function surveyImage(
  node: SalvagedNode,
  found: FoundImage,
  request: Request,
  order: SalvageOrder,
): Promise<void> {
  const encryption = await openCipher(node, found, request);
  try {
    await survey(node, found, encryption, order);
  } catch (error) {
    encryption?.content.cipher?.close();
    throw error;
  }
}

async function survey(
  node: SalvagedNode,
  found: FoundImage,
  encryption: ImageEncryption | null,
  order: SalvageOrder,
): Promise<void> {
  const { header, snapshots, isBackingLost } = found;
  const { hints, log } = order;
  const link = node.primary!;
  let { layout } = found;
  let begun = await begin(node, header, layout, snapshots, encryption, order);
  const { used, good, empty } = begun.survey.entries;
  // A disk may be zero where it is mapped at all: then its tables point nowhere, and are right.
  const isDoubtful = used > 0 && good === 0 && used > 2 * empty;
  if (isDoubtful && layout.scan === null && hints.l1Offset === undefined && hints.snapshot === undefined) {
    const looked = (done: number): void => order.onSurvey(done, link.length);
    const other = await layoutByShape(link, header, hints, layout.clusterBits, log, looked, snapshots);
    if (other.l1Offset !== null && other.l1Offset !== layout.l1Offset) {
      layout = other;
      log.forgetRanges();
      begun = await begin(node, header, layout, snapshots, encryption, order);
    }
  }
  const { survey: surveyed, disk, size } = begun;
  const active = { l1Offset: header.l1Offset ?? 0, l1Size: header.l1Size ?? 0 };
  for (const { l1Offset, l1Size } of tablesToRead([active, ...snapshots])) {
    if (l1Offset <= 0 || l1Offset >= link.length || l1Offset === layout.l1Offset) continue;
    await surveyed.markOthers(l1Offset, Math.min(l1Size, Math.floor((link.length - l1Offset) / 8)));
  }
  const { l2Span } = disk.geometry;
  await surveyed.judgeEntries((done, total) =>
    order.onSurvey(Math.min(done * l2Span, size), Math.min(total * l2Span, size)),
  );
  await surveyed.findOrphans((done) => order.onSurvey(done, link.length));
  if (isBackingLost) await surveyed.loseAbsent();
  if (layout.mayBeSnapshot) log.doubtful.add(0, size, 'perhaps-snapshot', layout.l1Offset ?? -1);
  node.showDisk({ ...disk, l1: surveyed.l1, encryption }, size);
}

/** Those of the L1 tables that are read: damaged entries may name the same place many times, and any length. */
function* tablesToRead<T extends { l1Offset: number; l1Size: number }>(tables: readonly T[]): Generator<T> {
  const seen = new Set<number>();
  let left = MAX_SNAPSHOT_L1_BYTES;
  for (const table of tables) {
    const bytes = table.l1Size * 8;
    if (seen.has(table.l1Offset) || bytes > MAX_L1_BYTES || bytes > left) continue;
    seen.add(table.l1Offset);
    left -= bytes;
    yield table;
  }
}

/** Marks the metadata, and reads the L1 table. */
async function begin(
  node: SalvagedNode,
  header: SalvagedHeader,
  layout: Layout,
  snapshots: readonly Snapshot[],
  encryption: ImageEncryption | null,
  { hints, log }: SalvageOrder,
) {
  const file = node.primary!;
  const geometry = makeGeometry(header.version, layout.clusterBits, header.refcountOrder, layout.extendedL2);
  const claims = new Claims();
  const mark = (offset: number, length: number): void => {
    const end = Math.min(offset + length, file.length);
    if (offset > 0 && offset < end) claims.metadata.addBytes(offset, end, geometry.clusterSize);
  };
  claims.metadata.add(0);
  const needed = layout.size === null ? layout.entries : Math.ceil(layout.size / geometry.l2Span);
  mark(layout.l1Offset ?? 0, Math.min(layout.entries, needed) * 8);
  if (encryption?.region != null) mark(encryption.region.offset, luksBytes(encryption));
  if (snapshots.length > 0) mark(header.snapshots.offset, tableBytes(snapshots));
  for (const { l1Offset, l1Size, diskSize, vmStateSize } of tablesToRead(snapshots)) {
    const most = Math.min(l1Size, MAX_L1_BYTES / 8, Math.ceil((diskSize + vmStateSize) / geometry.l2Span) + 1);
    await eachTableCluster(file, geometry.clusterSize, l1Offset, most * 8, true, (offset) => mark(offset, 1));
  }
  const refcounts = await SalvagedRefcounts.load(file, geometry, header.refcountTable, claims);
  const end = await exactSize(file);
  const rules: EntryRules = {
    version: header.version,
    clusterBits: layout.clusterBits,
    extendedL2: layout.extendedL2,
    fileBytes: file.length,
    // Half a sector cannot be decrypted.
    dataBytes: header.isExternal
      ? (node.children.get('data-file')?.length ?? null)
      : encryption === null
        ? end
        : roundDown(end, SECTOR),
    isExternal: header.isExternal,
  };
  const tables = new TableReader(file, geometry.clusterSize, entryBytes(rules), end);
  const countsAll = header.isFound && header.snapshots.count === 0 && !hasBitmaps(header);
  const image = { file, end, geometry, rules, claims, refcounts, isDirty: header.isDirty, tables, log, countsAll };
  let { size } = layout;
  if (size === null) {
    // What a trial finds is found again, with the right size.
    const all = layout.entries * geometry.l2Span;
    const trial = new Survey({ ...image, claims: new Claims(), log: new SalvageLog(), size: all });
    await trial.readL1(layout.l1Offset, layout.entries, hints);
    size = await trial.lastUsed();
    log.assumptions.push(`The disk has ${size} bytes (${formatSize(size)}): its tables describe no more.`);
  }
  const surveyed = new Survey({ ...image, size });
  await surveyed.readL1(layout.l1Offset, layout.entries, hints);
  const codecs = header.compressionType === 1 ? (['zstd', 'zlib'] as const) : (['zlib', 'zstd'] as const);
  return { survey: surveyed, size, disk: { geometry, rules, claims, tables, codecs } };
}

function hasBitmaps({ extensions }: SalvagedHeader): boolean {
  return extensions.some(({ type }) => type === Extension.bitmaps);
}

/** Bytes of the LUKS header, by what it says itself, too. */
function luksBytes({ region, info }: ImageEncryption): number {
  const said = info();
  return Math.min(region?.length ?? 0, said.format === 'luks' ? said['payload-offset'] : 0);
}

/** The encryption that the header says; where there is no header, the one that the caller names a secret for. */
async function openCipher(
  node: SalvagedNode,
  { header, layout }: FoundImage,
  request: Request,
): Promise<ImageEncryption | null> {
  const { encrypt } = request.options;
  let { cryptMethod, extensions } = header;
  if (!header.isFound && encrypt !== undefined) {
    cryptMethod = encrypt.format === 'aes' ? CRYPT_AES : CRYPT_LUKS;
    if (cryptMethod === CRYPT_LUKS) {
      const offset = layout.scan?.luks.find((at) => at > 0 && at % 2 ** layout.clusterBits === 0);
      if (offset === undefined) {
        throw BlockError.at(node.filename, 'invalid-image', 'No LUKS header was found', { operation: 'salvage' });
      }
      const length = Math.min(MAX_LUKS_BYTES, node.primary!.length - offset);
      extensions = [{ type: Extension.encryption, data: encodePointer(offset, length) }];
    }
  }
  const area = areaOf({ ...header, cryptMethod, clusterBits: layout.clusterBits }, extensions);
  const encryption = await withLink(node.primary!.node, LOOK, (link) =>
    openEncryption(request.graph, link, area, request.options, false),
  );
  // Where the header was found by its shape, nobody knows how long it is.
  return encryption !== null && !header.isFound ? { ...encryption, region: null } : encryption;
}

const MAX_LUKS_BYTES = 16 << 20;

const LOOK = readingUse('salvage');
