// Serves one image as one export at one address, until the last client has disconnected or a signal comes.

import { Device } from '../../block/device.js';
import { peerText } from '../../host/net-address.js';
import { detach } from '../../util/best-effort.js';
import { type Served, type ServeRequest, serveDevice } from '../../workspace/serve.js';
import { End } from '../end.js';
import { isTerminal, PROGRAM, program, writeMessage } from '../output.js';
import { type Session, withSession } from '../session.js';
import type { Forked } from './fork.js';
import { openServedImage } from './image.js';
import { writePidFile } from './pid-file.js';
import type { ServePlan } from './plan.js';
import { securityOf } from './security.js';
import type { Serving } from './serving.js';

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
  // A person who waits at a terminal is told; in qemu-nbd's place, and in the background, who asked for it.
  const tells = plan.verbose || (forked === null && program() === PROGRAM && isTerminal(2));
  const say = (text: string): void => {
    if (tells) writeMessage(`${program()}: ${text}`);
  };
  const request: ServeRequest = {
    address: plan.address,
    server: {
      ...securityOf(session, plan),
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
  };
  // Registered before the image is opened, since opening may wait for a silent server.
  detach(
    'signal',
    end.reached.then(() => session.graph.abortStalled()),
  );
  const serving = await begin(session, plan, request, end);
  try {
    if (plan.pidFile !== undefined) writePidFile(plan.pidFile);
    say(`serving '${plan.image}' at ${peerText(serving.address)}`);
    if (forked !== null) goToBackground(plan, forked);
    await end.reached;
  } finally {
    await serving.close();
  }
}

/** Opens the image and serves it. What is open when this rejects is closed with the session. */
async function begin(session: Session, plan: ServePlan, request: ServeRequest, end: End): Promise<Serving> {
  if (plan.monitor !== undefined) {
    // Loaded when it is asked for: the monitor is large.
    const { serveMonitored } = await import('./monitored.js');
    const { generationsOf } = await import('../generations.js');
    const monitor = { path: plan.monitor, generations: generationsOf(plan.compat) };
    const node = await openServedImage(session, plan);
    return serveMonitored(node, !plan.readOnly, monitor, request, () => end.now());
  }
  const device = new Device(await openServedImage(session, plan), { name: 'nbd', writable: !plan.readOnly });
  let served: Served;
  try {
    served = await serveDevice(session.host, device, request);
  } catch (error) {
    await device.close();
    throw error;
  }
  return {
    address: served.address,
    async close() {
      try {
        await served.server.close();
      } finally {
        await device.close();
      }
    },
  };
}

function goToBackground(plan: ServePlan, forked: Forked): void {
  forked.ready(!plan.verbose);
  // The server must not keep the folder that it was started in from being removed. With objects it stays there: a file with an authorization list
  // is read again by its name. With a monitor, too: its commands name files, and the image's own name is looked up for a snapshot.
  if (plan.objects.length === 0 && plan.monitor === undefined) process.chdir('/');
}
