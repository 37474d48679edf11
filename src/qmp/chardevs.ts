// Character devices by name: where the clients of monitors come in. `--chardev` describes one, `--monitor` puts a monitor to it.
//
//   --chardev socket,id=c,... --> described, nothing is opened
//   --monitor chardev=c       --> opened; with `wait`, the program goes on when the first client is there

import { netAddressOf } from '../block/socket-address.js';
import type { NetAddress } from '../host/net.js';
import type { ChardevOptions, ChardevSocketOptions, MonitorOptions } from '../schema/generated/types.js';
import { BlockError } from '../util/errors.js';
import type { QmpContext } from './context.js';
import { Monitor } from './monitor.js';

interface Chardev {
  readonly options: ChardevOptions;
  readonly address: NetAddress | null;
  taken: boolean;
}

export class Chardevs {
  readonly #context: QmpContext;
  readonly #chardevs = new Map<string, Chardev>();
  readonly #monitors: Monitor[] = [];

  constructor(context: QmpContext) {
    this.#context = context;
  }

  /** Throws `exists`, `invalid-argument`. */
  add(options: ChardevOptions): void {
    const { id } = options;
    if (this.#chardevs.has(id)) throw new BlockError('exists', `Chardev with id '${id}' already exists`);
    if (options.backend === 'stdio' && [...this.#chardevs.values()].some((one) => one.options.backend === 'stdio')) {
      throw new BlockError('busy', 'cannot use stdio by multiple character devices');
    }
    const address = options.backend === 'socket' ? addressOf(options) : null;
    this.#chardevs.set(id, { options, address, taken: false });
  }

  /** Rejects with `not-found`, `unsupported` (readline), `busy`, and as `Net.listen` and `Net.connect`. */
  async addMonitor({ chardev: id, mode = 'control', pretty }: MonitorOptions): Promise<void> {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) throw new BlockError('not-found', `chardev "${id}" not found`);
    if (mode !== 'control') throw new BlockError('unsupported', `monitor mode '${mode}' is not supported`);
    if (chardev.taken) throw new BlockError('busy', `chardev '${id}' is already in use`);
    chardev.taken = true;
    const monitor = new Monitor(this.#context, { pretty });
    this.#monitors.push(monitor);
    await openAt(monitor, chardev);
  }

  /** Ends all monitors; what was written to their clients is sent first. */
  async close(): Promise<void> {
    await Promise.all(this.#monitors.map((monitor) => monitor.close()));
  }
}

async function openAt(monitor: Monitor, { options, address }: Chardev): Promise<void> {
  if (options.backend !== 'socket' || address === null) monitor.useStdio();
  else if (options.server === true) {
    await monitor.listen(address);
    if (options.wait !== false) await monitor.connected();
  } else await monitor.connect(address);
}

/** Throws `invalid-argument`. */
function addressOf(options: ChardevSocketOptions): NetAddress {
  const { path, abstract, host = 'localhost', port, ipv4, ipv6, fd, server = false, wait } = options;
  if ([path, port, fd].filter((given) => given !== undefined).length !== 1) {
    throw new BlockError('invalid-argument', "a socket needs exactly one of 'path', 'port' and 'fd'");
  }
  if (wait !== undefined && !server) {
    throw new BlockError('invalid-argument', "'wait' option is incompatible with socket in client connect mode");
  }
  if (path !== undefined) return netAddressOf({ type: 'unix', path, abstract });
  if (port !== undefined) return netAddressOf({ type: 'inet', host, port, ipv4, ipv6 });
  return netAddressOf({ type: 'fd', str: fd as string });
}
