// A client of an NBD export of the device `d0`.

import { Command } from '../../../../src/wire/nbd/constants.js';
import { RawClient } from '../../../support/nbd-raw.js';
import type { StorageDaemon } from '../../../support/qmp.js';
import { FIRST_SECTOR, GUEST_EXPORT, type Guest, type GuestRequest, SECTOR, SECTORS } from './guest.js';

const offset = FIRST_SECTOR * SECTOR;
const length = SECTORS * SECTOR;

export class NbdGuest implements Guest {
  readonly #client: RawClient;
  #isRead = false;

  private constructor(client: RawClient) {
    this.#client = client;
  }

  static async start(daemon: StorageDaemon, folder: string): Promise<NbdGuest> {
    const path = `${folder}/nbd`;
    await daemon.execute('nbd-server-start', { addr: { type: 'unix', data: { path } } });
    await daemon.execute('block-export-add', { type: 'nbd', id: GUEST_EXPORT, 'node-name': 'd0', writable: true });
    const client = await RawClient.connect(path);
    await client.go('simple', { name: 'd0' });
    return new NbdGuest(client);
  }

  async begin(request: GuestRequest): Promise<void> {
    const requests = {
      read: { command: Command.read, offset, length },
      write: { command: Command.write, offset, payload: new Uint8Array(length) },
      trim: { command: Command.trim, offset, length },
      flush: { command: Command.flush },
    };
    this.#isRead = request === 'read';
    this.#client.request(requests[request]);
  }

  async answer(): Promise<'done' | 'failed'> {
    const { error } = await this.#client.reply(this.#isRead ? length : 0);
    return error === 0 ? 'done' : 'failed';
  }

  end(): void {
    this.#client.close();
  }
}
