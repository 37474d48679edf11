// Serves one image as one export at one address, until the last client has disconnected or a signal comes.

import { Device } from '../../block/device.js';
import { peerText } from '../../host/net-address.js';
import { detach } from '../../util/best-effort.js';
import { type Served, serveDevice } from '../../workspace/serve.js';
import { End } from '../end.js';
import { program, writeMessage } from '../output.js';
import { type Session, withSession } from '../session.js';
import type { Forked } from './fork.js';
import { openServedImage } from './image.js';
import { writePidFile } from './pid-file.js';
import type { ServePlan } from './plan.js';
import { securityOf } from './security.js';

/** Runs the server. Resolves with the exit code when it has ended and all data was flushed. Rejects with the first failure, also one of that flush. */
export async function serve(plan: ServePlan, forked: Forked | null): Promise<number> {
  const end = new End();
  try {
    await withSession(plan.objects, (session) => serveUntil(session, plan, forked, end), { engine: plan.engine });
    return 0;
  } finally {
    end.stop();
  }
}

async function serveUntil(session: Session, plan: ServePlan, forked: Forked | null, end: End): Promise<void> {
  const say = (text: string): void => {
    if (plan.verbose) writeMessage(`${program()}: ${text}`);
  };
  const security = securityOf(session, plan);
  let served: Served | null = null;
  let device: Device | null = null;
  // Registered before the image is opened, since opening may wait for a silent server.
  detach(
    'signal',
    end.reached.then(() => session.graph.abortStalled()),
  );
  try {
    device = new Device(await openServedImage(session, plan), { name: 'nbd', writable: !plan.readOnly });
    served = await serveDevice(session.host, device, {
      address: plan.address,
      server: {
        ...security,
        maxConnections: plan.maxClients,
        handshakeTimeoutMs: plan.handshakeSeconds * 1000,
        onServed: ({ peer }) => say(`${peer}: connected`),
        onLeft: ({ peer }, chosen, others) => {
          say(`${peer}: ${chosen ? 'left' : 'left without having chosen the export'}`);
          if (chosen && others === 0 && !plan.persistent) end.now();
        },
      },
      export: {
        name: plan.exportName,
        description: plan.description,
        bitmaps: plan.bitmaps,
        allocationDepth: plan.allocationDepth,
        writethrough: plan.cache.writethrough,
      },
    });
    if (plan.pidFile !== undefined) writePidFile(plan.pidFile);
    say(`serving '${plan.image}' at ${peerText(served.address)}`);
    if (forked !== null) goToBackground(plan, forked);
    await end.reached;
  } finally {
    // What clients wrote is flushed when the session closes the image.
    try {
      await served?.server.close();
    } finally {
      await device?.close();
    }
  }
}

function goToBackground(plan: ServePlan, forked: Forked): void {
  forked.ready(!plan.verbose);
  // The server must not keep the folder that it was started in from being removed. With objects it stays there: a file with an authorization list
  // is read again by its name.
  if (plan.objects.length === 0) process.chdir('/');
}
