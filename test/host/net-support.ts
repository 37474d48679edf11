// Two ends of a link, and an owner that keeps what it is told.
import type { Host } from '../../src/host/host.js';
import type { Link, LinkOwner, NetAddress } from '../../src/host/net.js';
import type { BlockError } from '../../src/util/errors.js';

/** Collects what arrives, through a window of `windowBytes` that is named anew each time. */
export class Collector implements LinkOwner {
  readonly link: Link;
  readonly chunks: Buffer[] = [];
  bytes = 0;
  progress = 0;
  end: BlockError | null | undefined;
  /** The next window is named in a later turn: until then the other side must wait. */
  late = false;
  #window: Uint8Array;
  #changed: (() => void)[] = [];

  constructor(host: Host, link: Link, windowBytes = 4096) {
    this.link = link;
    this.#window = host.memory.allocate(windowBytes);
    link.owner = this;
  }

  read(): this {
    this.link.window(this.#window, 0, this.#window.length);
    return this;
  }

  received(count: number): void {
    this.chunks.push(Buffer.from(this.#window.subarray(0, count)));
    this.bytes += count;
    if (this.late) setImmediate(() => this.read());
    else this.read();
    this.#tell();
  }

  progressed(): void {
    this.progress++;
    this.#tell();
  }

  closed(error: BlockError | null): void {
    if (this.end !== undefined) throw new Error('closed twice');
    this.end = error;
    this.#tell();
  }

  get content(): Buffer {
    return Buffer.concat(this.chunks);
  }

  /** Waits until `condition` holds; it is looked at after each call from the link. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#changed.push(resolve));
  }

  async ended(): Promise<BlockError | null> {
    await this.until(() => this.end !== undefined);
    return this.end ?? null;
  }

  #tell(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

/** A listener that has one caller. */
export async function pairOf(
  host: Host,
  address: NetAddress,
): Promise<{ server: Link; client: Link; close: () => Promise<void> }> {
  let taken: (link: Link) => void = () => {};
  const accepted = new Promise<Link>((resolve) => {
    taken = resolve;
  });
  const listener = await host.net.listen(address, taken);
  const client = await host.net.connect(listener.address);
  const server = await accepted;
  return {
    server,
    client,
    close: async () => {
      await Promise.all([server.close(), client.close(), listener.close()]);
    },
  };
}
