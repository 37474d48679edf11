// Sockets of the simulated host: pairs of links in memory. A listener is found by its address.
import { BlockError } from '../../util/errors.js';
import type { Link, Listener, Net, NetAddress } from '../net.js';
import { addressText, peerText } from '../net-address.js';
import type { SimEngine } from './engine.js';
import { SimLink, type Wire } from './link.js';
import { Random } from './random.js';

/** Longest time that a step takes on the wire, on a seeded schedule. */
const LATENCY_MS = 0.2;

export class SimNet implements Net {
  private readonly listeners = new Map<string, (link: Link) => void>();
  private readonly wire: Wire;
  private nextPort = 49152;

  constructor(engine: SimEngine) {
    const random = engine.options.eager ? null : new Random(engine.options.seed, 5);
    const later = (step: () => void) => {
      if (random === null) setImmediate(step);
      else engine.timer(random.fraction() * LATENCY_MS, step);
    };
    this.wire = { later, random, open: new Set() };
  }

  async listen(address: NetAddress, accept: (link: Link) => void): Promise<Listener> {
    if (address.type === 'inet' && typeof address.port === 'string') throw noServices(address);
    const at = address.type === 'inet' && address.port === 0 ? { ...address, port: this.nextPort++ } : address;
    const path = addressText(at);
    if (this.listeners.has(path) && at.type !== 'unix') {
      throw new BlockError('busy', `Failed to bind socket to ${path}: Address already in use`, {
        operation: 'listen',
        path,
      });
    }
    this.listeners.set(path, accept);
    const close = async () => {
      if (this.listeners.get(path) === accept) this.listeners.delete(path);
    };
    return { address: at, close };
  }

  async connect(address: NetAddress): Promise<Link> {
    if (address.type === 'inet' && typeof address.port === 'string') throw noServices(address);
    const path = addressText(address);
    await new Promise<void>((resolve) => this.wire.later(resolve));
    const accept = this.listeners.get(path);
    if (accept === undefined) {
      const [code, errno, why] =
        address.type === 'unix'
          ? (['not-found', 'ENOENT', 'No such file or directory'] as const)
          : (['io', 'ECONNREFUSED', 'Connection refused'] as const);
      throw new BlockError(code, `Failed to connect to '${path}': ${why}`, { operation: 'connect', path, errno });
    }
    const near = new SimLink(this.wire, peerText(address));
    const far = new SimLink(this.wire, peerText(address));
    near.other = far;
    far.other = near;
    this.wire.later(() => accept(far));
    return near;
  }

  checkTls(): void {
    throw new BlockError('unsupported', 'the simulated host has no TLS', { operation: 'tls' });
  }

  /** Cuts all existing links: both sides of each get an error. Listeners stay. */
  cut(): void {
    for (const link of this.wire.open) link.cut();
  }
}

function noServices(address: NetAddress): BlockError {
  const path = addressText(address);
  return new BlockError(
    'invalid-argument',
    `address resolution failed for ${path}: the simulated host has no services`,
    {
      operation: 'resolve',
      path,
    },
  );
}
