// What a guest must see: per sector, the values that it may hold now, and those that it may hold after power loss.
//
// A sector's history starts with a value that is surely on the disk and goes on with what was written since:
//
//   [ 7 flushed ] [ 12 answered ] [ 0 maybe ] [ 31 in flight ]
//     after power loss: any of them          now: 12, 0 or 31 (the last sure one and what follows)
//
// `maybe`: a write that failed, or a discard. A completed flush drops what lies before the last sure value that was answered when the
// flush was issued. A value is a number: a sector that is filled with it as 32-bit words; 0 is a sector of zeroes.

export const SECTOR = 512;

interface Version {
  value: number;
  state: 'in flight' | 'sure' | 'maybe';
  /** When it was answered, in model time. */
  answered: number;
  unmaps: boolean;
}

function settled(value: number): Version {
  return { value, state: 'sure', answered: 0, unmaps: false };
}

export interface Change {
  first: number;
  count: number;
  versions: Version[];
}

/** A read in flight: what it may return, per sector; null for anything. */
export interface Watch {
  first: number;
  allowed: (Set<number> | null)[];
}

export class GuestModel {
  private history: Version[][];
  private readonly watches = new Set<Watch>();
  private time = 0;

  constructor(values: readonly number[]) {
    this.history = values.map((value) => [settled(value)]);
  }

  get sectors(): number {
    return this.history.length;
  }

  /**
   * A request that sets sectors from `first` on is issued. Requests in flight must not overlap. `unmaps`: their space may be given to
   * others at once, so that a read that is under way meanwhile returns anything (as with the reference).
   */
  begin(first: number, values: readonly number[], unmaps = false): Change {
    const versions = values.map((value, i) => {
      const version: Version = { value, state: 'in flight', answered: Number.POSITIVE_INFINITY, unmaps };
      this.history[first + i].push(version);
      return version;
    });
    for (const watch of this.watches) {
      values.forEach((value, i) => {
        const at = first + i - watch.first;
        if (at < 0 || at >= watch.allowed.length) return;
        if (unmaps) watch.allowed[at] = null;
        else watch.allowed[at]?.add(value);
      });
    }
    return { first, count: values.length, versions };
  }

  /** The request was answered. `maybe`: it failed, or it promises nothing. */
  end(change: Change, state: 'sure' | 'maybe'): void {
    const answered = ++this.time;
    for (const version of change.versions) Object.assign(version, { state, answered });
  }

  /** A flush is issued: give the result to `endFlush`. */
  beginFlush(): number {
    return this.time;
  }

  endFlush(issued: number): void {
    for (const [sector, versions] of this.history.entries()) {
      if (versions.length === 1) continue;
      const sure = versions.findLastIndex((version) => version.state === 'sure' && version.answered <= issued);
      if (sure > 0) this.history[sector] = versions.slice(sure);
    }
  }

  /** A read is issued: collects what it may return until `unwatch`. */
  watch(first: number, count: number): Watch {
    const allowed = Array.from({ length: count }, (_, i) => {
      const unmapping = this.history[first + i].some((version) => version.unmaps && version.state === 'in flight');
      return unmapping ? null : new Set(this.allowedNow(first + i));
    });
    const watch = { first, allowed };
    this.watches.add(watch);
    return watch;
  }

  unwatch(watch: Watch): void {
    this.watches.delete(watch);
  }

  /** Values that a read may return now. */
  allowedNow(sector: number): number[] {
    const versions = this.history[sector];
    const sure = versions.findLastIndex((version) => version.state === 'sure');
    return versions.slice(sure).map((version) => version.value);
  }

  allowedAfterCrash(sector: number): number[] {
    return this.history[sector].map((version) => version.value);
  }

  /** This is what was found on the disk: the history starts anew. */
  settle(values: readonly number[]): void {
    this.history = values.map((value) => [settled(value)]);
    this.time = 0;
  }

  resize(sectors: number): void {
    this.history.length = Math.min(this.history.length, sectors);
    while (this.history.length < sectors) this.history.push([settled(0)]);
  }
}

/** Bytes of sectors that hold `values`. */
export function encodeSectors(values: readonly number[]): Uint8Array {
  const words = new Uint32Array((values.length * SECTOR) / 4);
  values.forEach((value, i) => {
    words.fill(value, (i * SECTOR) / 4, ((i + 1) * SECTOR) / 4);
  });
  return new Uint8Array(words.buffer);
}

/** The value of each sector; -1 where its words differ (a torn sector, or foreign bytes). A partial last sector counts. */
export function decodeSectors(content: Uint8Array): number[] {
  const padded = new Uint8Array(Math.ceil(content.length / 4) * 4);
  padded.set(content);
  const words = new Uint32Array(padded.buffer);
  const perSector = SECTOR / 4;
  const values: number[] = [];
  for (let at = 0; at < words.length; at += perSector) {
    const end = Math.min(at + perSector, words.length);
    let value = words[at];
    for (let i = at + 1; i < end; i++) if (words[i] !== value) value = -1;
    values.push(value);
  }
  return values;
}
