// Who uses which cluster of a damaged image's file, in bits, in pages that are made when they are needed, since a file may have holes
// of any size, and pointers are not to be trusted.

/** Clusters of a page. */
const PAGE_CLUSTERS = 1 << 16;
/** 8 KiB each, 64 MiB a set at most: enough for 32 TiB in use with clusters of 64 KiB. */
const MAX_PAGES = 1 << 13;

/** A set of clusters. */
export class ClusterSet {
  readonly #pages = new Map<number, Uint8Array>();
  /** More clusters were added than are kept: what it says is not complete. */
  overflowed = false;
  count = 0;

  has(cluster: number): boolean {
    const page = this.#pages.get(Math.floor(cluster / PAGE_CLUSTERS));
    return page !== undefined && (page[(cluster % PAGE_CLUSTERS) >>> 3] & (1 << (cluster & 7))) !== 0;
  }

  /** False where it was there already. */
  add(cluster: number): boolean {
    const index = Math.floor(cluster / PAGE_CLUSTERS);
    let page = this.#pages.get(index);
    if (page === undefined) {
      if (this.#pages.size === MAX_PAGES) {
        this.overflowed = true;
        return true;
      }
      page = new Uint8Array(PAGE_CLUSTERS / 8);
      this.#pages.set(index, page);
    }
    const at = (cluster % PAGE_CLUSTERS) >>> 3;
    const bit = 1 << (cluster & 7);
    if ((page[at] & bit) !== 0) return false;
    page[at] |= bit;
    this.count++;
    return true;
  }

  /** Adds the clusters that [from, to) bytes touch. */
  addBytes(from: number, to: number, clusterSize: number): void {
    for (let cluster = Math.floor(from / clusterSize); cluster * clusterSize < to; cluster++) this.add(cluster);
  }
}

export class Claims {
  /** Tables and other metadata, for certain: their content says so, too. */
  readonly metadata = new ClusterSet();
  /** L2 tables, of the disk and of snapshots. */
  readonly tables = new ClusterSet();
  /** Data that is stored as it is. */
  readonly data = new ClusterSet();
  /** Those that several entries point to. */
  readonly shared = new ClusterSet();
  readonly compressed = new ClusterSet();
  /** Those that entries keep which read as zeroes. */
  readonly kept = new ClusterSet();

  /** Takes a cluster for data; false where another entry has taken it before. */
  takeData(cluster: number): boolean {
    if (this.data.add(cluster)) return true;
    this.shared.add(cluster);
    return false;
  }

  isMetadata(cluster: number): boolean {
    return this.metadata.has(cluster) || this.tables.has(cluster);
  }

  isUsed(cluster: number): boolean {
    return this.isMetadata(cluster) || this.data.has(cluster) || this.compressed.has(cluster) || this.kept.has(cluster);
  }
}
