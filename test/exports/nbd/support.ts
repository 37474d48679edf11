// A served image for the tests of the NBD server: a folder, a workspace, a server at a UNIX socket, and raw clients.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DirtyBitmap } from '../../../src/block/bitmap.js';
import type { ImageCreateOptions } from '../../../src/block/create.js';
import { rootOf } from '../../../src/block/device.js';
import type { OpenOptions } from '../../../src/block/open.js';
import type { ExportOptions } from '../../../src/exports/nbd/export.js';
import { NbdServer, type NbdServerOptions } from '../../../src/exports/nbd/server.js';
import { openRealHost } from '../../../src/host/real/index.js';
import { deviceOf, type Image } from '../../../src/library/image.js';
import { Workspace } from '../../../src/library/workspace.js';
import { RawClient, type RawDialect } from '../../support/nbd-raw.js';

export const MIB = 1024 * 1024;

export class Stage {
  readonly folder = mkdtempSync(join(tmpdir(), 'diskwright-nbd-'));
  readonly host = openRealHost();
  readonly workspace = new Workspace(this.host);
  readonly #images: Image[] = [];
  readonly #servers: NbdServer[] = [];
  readonly #clients: RawClient[] = [];

  path(name: string): string {
    return join(this.folder, name);
  }

  get socket(): string {
    return this.path('sock');
  }

  get uri(): string {
    return `nbd+unix:///?socket=${this.socket}`;
  }

  /** A new image, opened. */
  async image(
    name: string,
    { size = MIB, format = 'qcow2', ...open }: { size?: number; format?: 'qcow2' | 'raw' } & OpenOptions = {},
  ): Promise<Image> {
    await this.workspace.create(this.path(name), { driver: format, size } as ImageCreateOptions);
    return this.open(name, { format, ...open });
  }

  async open(name: string, options: OpenOptions): Promise<Image> {
    const image = await this.workspace.open(this.path(name), options);
    this.#images.push(image);
    return image;
  }

  /** Serves an image, as the export without a name unless the options say otherwise. */
  async serve(image: Image, served: ExportOptions = {}, options: NbdServerOptions = {}): Promise<NbdServer> {
    const server = new NbdServer(this.host, options);
    this.#servers.push(server);
    server.addExport(deviceOf(image), served);
    await server.listen({ type: 'unix', path: this.socket });
    return server;
  }

  async client(): Promise<RawClient> {
    const client = await RawClient.connect(this.socket);
    this.#clients.push(client);
    return client;
  }

  /** A client in transmission. */
  async guest(dialect: RawDialect = 'simple', contexts: string[] = []): Promise<RawClient> {
    const client = await this.client();
    await client.go(dialect, { contexts });
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const server of this.#servers) {
      await server.close();
      if (server.bytesInFlight !== 0)
        throw new Error(`${server.bytesInFlight} bytes of requests were never given back`);
    }
    for (const image of this.#images) await image.close();
    await this.workspace.close();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** `length` bytes that tell one place from another. */
export function pattern(length: number, seed = 1): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 7 + seed * 31 + (index >> 8)) & 0xff));
}

/** Waits, turn by turn, until `condition` holds; fails after ten seconds. */
/** A bitmap of an image, with what only the house can do to it. */
export function addInnerBitmap(image: Image, name: string, granularity: number): DirtyBitmap {
  image.addBitmap(name, granularity);
  return rootOf(deviceOf(image)).node.bitmaps.get(name)!;
}

export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
