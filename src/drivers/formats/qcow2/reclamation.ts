// When a cluster that was unmapped may be used for something else: epoch-based reclamation.
//
// A request looks up where its clusters lie, and goes there without holding a lock. Meanwhile a discard or an overwrite may unmap one of them
// and free it. If it were used again at once, a read that is still under way would return another cluster's data, and a write would land in
// it. So a freed cluster has to wait until no request is under way that may have seen the old mapping.
//
// Counting the requests of each cluster would cost too much. Time is divided into epochs instead. Each request takes a guard of the
// epoch that it begins in, which is one counter, and releases it when it is answered. To reclaim space, one begins a new epoch, and waits until
// all counters of the earlier ones are zero: every request that began before is over then, and whoever came later has seen the new mapping.
//
//   epoch 1              | epoch 2                        | epoch 3
//   --read a-----------------------.                      |
//        --write b--.    |          \                     |
//   unmap X              |   --read c\--------------------------
//               synchronize()         `- epoch 1 is empty: X may be used again. `read c` is not waited for.
//
// The waiting is rare (once a commit that frees something), the guard costs an increment and a decrement, and makes no object: all requests
// of an epoch share one guard for reads and one for writes.

import type { MappingGuard } from '../../../block/types.js';
import { Epoch, Epochs } from '../../../util/epochs.js';

/** The object that is marked when something was written: the image file. */
interface Written {
  unflushed: boolean;
}

/** The requests that began in one epoch. This object is the guard of its reads. */
class MappingEpoch extends Epoch implements MappingGuard {
  readonly writing: MappingGuard;

  constructor(written: Written) {
    super();
    this.writing = new WriteGuard(this, written);
  }

  release(): void {
    this.leave();
  }
}

/** The guard of an epoch's writes. */
class WriteGuard implements MappingGuard {
  readonly #epoch: Epoch;
  readonly #written: Written;

  constructor(epoch: Epoch, written: Written) {
    this.#epoch = epoch;
    this.#written = written;
  }

  release(): void {
    // Only now: a flush that began while the write was under way does not cover it.
    this.#written.unflushed = true;
    this.#epoch.leave();
  }
}

export class Reclamation {
  readonly #epochs: Epochs<MappingEpoch>;

  /** `written` is marked by each write whose guard is released. */
  constructor(written: Written) {
    this.#epochs = new Epochs(() => new MappingEpoch(written));
  }

  /** A guard for a read: from before its look-up until it is answered. */
  guardRead(): MappingGuard {
    return this.#epochs.enter();
  }

  /** A guard for a write. */
  guardWrite(): MappingGuard {
    return this.#epochs.enter().writing;
  }

  /** Resolves when every guard that was taken before this call is released. */
  synchronize(): Promise<void> {
    return this.#epochs.passed();
  }
}
