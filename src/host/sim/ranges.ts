// A set of integers, kept as sorted, disjoint, non-adjacent ranges [start, end). It is used for pages that are reserved on the disk without data, so that
// reserving a tebibyte takes one entry.

export class RangeSet {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  /** Number of integers in the set. */
  count = 0;

  clone(): RangeSet {
    const copy = new RangeSet();
    copy.starts.push(...this.starts);
    copy.ends.push(...this.ends);
    copy.count = this.count;
    return copy;
  }

  /** Index of the first range that ends after `value`. */
  private find(value: number): number {
    let low = 0;
    let high = this.ends.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.ends[middle] > value) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  has(value: number): boolean {
    const i = this.find(value);
    return i < this.starts.length && this.starts[i] <= value;
  }

  /** Number of members in [start, end). */
  countIn(start: number, end: number): number {
    let sum = 0;
    for (let i = this.find(start); i < this.starts.length && this.starts[i] < end; i++) {
      sum += Math.min(end, this.ends[i]) - Math.max(start, this.starts[i]);
    }
    return sum;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    this.remove(start, end);
    let i = this.find(start);
    this.count += end - start;
    let from = start;
    let to = end;
    if (i < this.starts.length && this.starts[i] === end) {
      to = this.ends[i];
      this.cut(i, 1);
    }
    if (i > 0 && this.ends[i - 1] === start) {
      i--;
      from = this.starts[i];
      this.cut(i, 1);
    }
    this.starts.splice(i, 0, from);
    this.ends.splice(i, 0, to);
  }

  remove(start: number, end: number): void {
    if (start >= end) return;
    const first = this.find(start);
    let last = first;
    const kept: [number, number][] = [];
    for (; last < this.starts.length && this.starts[last] < end; last++) {
      const from = this.starts[last];
      const to = this.ends[last];
      this.count -= Math.min(end, to) - Math.max(start, from);
      if (from < start) kept.push([from, start]);
      if (to > end) kept.push([end, to]);
    }
    if (last === first) return;
    this.cut(first, last - first);
    this.starts.splice(first, 0, ...kept.map((range) => range[0]));
    this.ends.splice(first, 0, ...kept.map((range) => range[1]));
  }

  private cut(index: number, howMany: number): void {
    this.starts.splice(index, howMany);
    this.ends.splice(index, howMany);
  }
}
