// A binary heap of events by due time; equal times keep the order in which they were pushed.

export interface SimEvent {
  dueMs: number;
  number: number;
  callback: (() => void) | undefined;
}

export class EventHeap {
  private items: SimEvent[] = [];
  private pushed = 0;

  push(dueMs: number, callback: () => void): SimEvent {
    const event: SimEvent = { dueMs, number: this.pushed++, callback };
    const { items } = this;
    let i = items.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(event, items[parent])) break;
      items[i] = items[parent];
      i = parent;
    }
    items[i] = event;
    return event;
  }

  cancel(event: SimEvent): void {
    event.callback = undefined;
  }

  clear(): void {
    this.items = [];
  }

  /** Due time of the next event; undefined if there is none. */
  nextDue(): number | undefined {
    while (this.items.length > 0 && this.items[0].callback === undefined) this.removeFirst();
    return this.items[0]?.dueMs;
  }

  /** Takes the next event out; `nextDue` must have said that there is one. */
  pop(): SimEvent {
    return this.removeFirst();
  }

  private removeFirst(): SimEvent {
    const { items } = this;
    const first = items[0];
    const last = items.pop()!;
    if (items.length > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= items.length) break;
        if (child + 1 < items.length && before(items[child + 1], items[child])) child++;
        if (!before(items[child], last)) break;
        items[i] = items[child];
        i = child;
      }
      items[i] = last;
    }
    return first;
  }
}

function before(a: SimEvent, b: SimEvent): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.number < b.number);
}
