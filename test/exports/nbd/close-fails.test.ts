// A server whose socket's file cannot be removed: it closes all the same, and tells it.

import { mkdirSync, renameSync, symlinkSync } from 'node:fs';
import { createConnection } from 'node:net';
import { expect } from 'chai';
import { NbdServer } from '../../../src/exports/nbd/server.js';
import type { NetAddress } from '../../../src/host/net.js';
import { deviceOf } from '../../../src/library/image.js';
import { failureOf } from '../../drivers/support.js';
import { RawClient } from '../../support/nbd-raw.js';
import { Stage } from './support.js';

describe('an NBD server whose socket cannot be removed', () => {
  it('lets go of its sockets, clients and exports, and tells the error', async () => {
    const stage = new Stage();
    const image = await stage.image('a');
    mkdirSync(stage.path('folder'));
    const address: NetAddress = { type: 'unix', path: stage.path('folder/socket') };
    const server = new NbdServer(stage.host);
    server.addExport(deviceOf(image));
    await server.listen(address);
    const client = await RawClient.connect(address.path);
    await client.go('simple', { contexts: [] });
    // From here on its name leads round in a circle.
    renameSync(stage.path('folder'), stage.path('moved'));
    symlinkSync('folder', stage.path('folder'));

    const error = await failureOf(server.close());
    expect(error).to.include({ errno: 'ELOOP', path: address.path, operation: 'close' });
    expect(server.connectionCount).to.equal(0);
    expect(image.users).to.deep.equal([]);
    const refused = await new Promise<NodeJS.ErrnoException>((resolve, reject) => {
      const late = createConnection(stage.path('moved/socket'), () => reject(new Error('somebody listens still')));
      late.on('error', resolve);
    });
    expect(refused.code).to.equal('ECONNREFUSED');
    client.close();
    await stage.close();
  });
});
