// `diskwright nbd --list`: lists the exports of a server, in qemu-nbd's format.

import { type ListedExport, listExports, type ServerList } from '../../drivers/protocols/nbd/list.js';
import { peerText } from '../../host/net-address.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { TransmissionFlag } from '../../wire/nbd/constants.js';
import { program, shown, write, writeMessage } from '../output.js';
import { withSession } from '../session.js';
import type { ListPlan } from './plan.js';
import { tlsCredentials } from './security.js';

/** Bit of the transmission flags -> its name in the list. */
const FLAG_NAMES: readonly (readonly [number, string])[] = [
  [TransmissionFlag.readOnly, 'readonly'],
  [TransmissionFlag.sendFlush, 'flush'],
  [TransmissionFlag.sendFua, 'fua'],
  [TransmissionFlag.rotational, 'rotational'],
  [TransmissionFlag.sendTrim, 'trim'],
  [TransmissionFlag.sendWriteZeroes, 'zeroes'],
  [TransmissionFlag.sendDf, 'df'],
  [TransmissionFlag.canMultiConn, 'multi'],
  [TransmissionFlag.sendResize, 'resize'],
  [TransmissionFlag.sendCache, 'cache'],
  [TransmissionFlag.sendFastZero, 'fast-zero'],
  [TransmissionFlag.blockStatusPayload, 'block-status-payload'],
];

/** Connects to the server and prints its exports. Resolves with the exit code. */
export async function list(plan: ListPlan): Promise<number> {
  const found = await withSession(plan.objects, async ({ host, graph }) => {
    const { tlsCreds, tlsHostname: hostname, address } = plan;
    const tls = tlsCreds === undefined ? null : tlsCredentials(() => graph.objects.tls(tlsCreds, 'client'));
    // A server at a UNIX socket has no host name to check its certificate against.
    const named =
      tls === null ? null : { ...tls, hostname: hostname ?? (address.type === 'inet' ? address.host : undefined) };
    const link = await host.net.connect(address);
    if (plan.verbose) writeMessage(`${program()}: connected to ${peerText(address)}`);
    try {
      return await listExports(host, link, { tls: named, timeoutMs: 0 });
    } catch (cause) {
      throw withoutPeer(toBlockError(cause), link.peer);
    }
  });
  write(describe(found));
  return 0;
}

/** The error without the server's address in front, which was typed on the command line. */
function withoutPeer(error: BlockError, peer: string): BlockError {
  return new BlockError(error.code, error.path === peer ? error.reason : error.message, { cause: error });
}

function describe({ exports, extended }: ServerList): string {
  const lines = [`exports available: ${exports.length}`];
  for (const one of exports) lines.push(...describeExport(one, extended));
  return `${lines.join('\n')}\n`;
}

function describeExport({ name, description, details, contexts }: ListedExport, extended: boolean): string[] {
  const lines = [` export: '${shown(name)}'`];
  if (description !== '') lines.push(`  description: ${shown(description)}`);
  if (details !== null) {
    const { size, flags, blockSizes } = details;
    const names = FLAG_NAMES.filter(([bit]) => (flags & bit) !== 0).map(([, flag]) => `${flag} `);
    lines.push(`  size:  ${size}`, `  flags: 0x${flags.toString(16)} ( ${names.join('')})`);
    if (blockSizes !== null) {
      const { minimum, preferred, maximum } = blockSizes;
      lines.push(`  min block: ${minimum}`, `  opt block: ${preferred}`, `  max block: ${maximum}`);
    }
  }
  if (extended) lines.push('  transaction size: 64-bit');
  if (contexts !== null && contexts.length > 0) {
    lines.push(`  available meta contexts: ${contexts.length}`, ...contexts.map((context) => `   ${shown(context)}`));
  }
  return lines;
}
