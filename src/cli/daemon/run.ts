// Runs the daemon: executes its options in their order, then serves until it is asked to end.
//
//   options --> pid file --> ready --> [quit, SIGTERM, SIGINT, SIGHUP] --> jobs cancelled, exports and images closed --> monitors end

import { unlinkSync } from 'node:fs';
import { Graph } from '../../block/graph.js';
import { registerDrivers } from '../../drivers/index.js';
import { openRealHost } from '../../host/real/index.js';
import { settingsOfOptions } from '../../qmp/chardev/settings.js';
import { startNbdServer } from '../../qmp/commands/exports.js';
import { QmpContext } from '../../qmp/context.js';
import { callCommand } from '../../qmp/dispatch.js';
import { Monitors } from '../../qmp/monitors.js';
import { parseKeyval } from '../../schema/keyval.js';
import { parseJsonObject } from '../../schema/options.js';
import { bestEffort } from '../../util/best-effort.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import { encodeName } from '../../util/name-bytes.js';
import { End } from '../end.js';
import { generationsOf } from '../generations.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import type { Forked } from '../nbd/fork.js';
import { writePidFile } from '../nbd/pid-file.js';
import { messageOf, write } from '../output.js';
import { graphOptions } from '../session.js';
import { packageText } from '../version.js';
import { checkedChardev } from './chardev-options.js';
import { describeOptions } from './describe-options.js';
import { parseDrive } from './drive-options.js';
import { checkParameters, type ParametersOf } from './parameters.js';

const TEXT = { strings: true } as const;

/** Runs the daemon. Resolves with the exit code when it has ended. Rejects with the error of an option, or of closing images and exports. */
export async function runDaemon(options: ParsedOptions, forked: Forked | null): Promise<number> {
  registerDrivers();
  const end = new End();
  const host = openRealHost();
  try {
    let begin: () => void = () => undefined;
    const ready = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const graph = new Graph(host, await graphOptions());
    const context = new QmpContext(graph, {
      ...{ package: packageText(), commandLine: describeOptions, generations: generationsOf(options.all('compat')) },
      ...{ quit: () => end.now(), ready },
    });
    const monitors = new Monitors(context);
    try {
      await serveUntil(context, monitors, options, forked, end, begin);
    } finally {
      await closeAll(context, monitors);
    }
    return 0;
  } finally {
    end.stop();
    await host.close();
  }
}

async function serveUntil(
  context: QmpContext,
  monitors: Monitors,
  options: ParsedOptions,
  forked: Forked | null,
  end: End,
  ready: () => void,
): Promise<void> {
  const taking = takeOptions(context, monitors, options, forked, end);
  if (await Promise.race([taking.then(() => false), end.reached.then(() => true)])) {
    // What an option waits for is ended: an NBD server that does not answer, the first client of a monitor.
    context.graph.abortStalled();
    await monitors.close();
    // What it was waiting for has ended: that is no error.
    await taking.catch((error: unknown) => {
      if (!(error instanceof UsageError)) throw error;
    });
    return;
  }
  const pidFile = options.get('pidfile');
  if (pidFile !== undefined) createPidFile(pidFile);
  try {
    forked?.ready(true);
    ready();
    await end.reached;
  } finally {
    if (pidFile !== undefined) removePidFile(pidFile);
  }
}

function createPidFile(path: string): void {
  try {
    writePidFile(path);
  } catch (thrown) {
    const { code, message } = toBlockError(thrown);
    throw new BlockError(code, `cannot create PID file: ${message}`, { path, cause: thrown });
  }
}

async function takeOptions(
  context: QmpContext,
  monitors: Monitors,
  options: ParsedOptions,
  forked: Forked | null,
  end: End,
): Promise<void> {
  for (const [key, text] of options.inOrder) {
    if (end.over) return;
    try {
      await takeOption(context, monitors, key, text, forked !== null);
    } catch (thrown) {
      const [why, ...hints] = messageOf(toBlockError(thrown)).split('\n');
      throw new UsageError(`--${key} ${text}: ${why}`, false, hints);
    }
  }
}

async function takeOption(
  context: QmpContext,
  monitors: Monitors,
  key: string,
  text: string,
  daemonized: boolean,
): Promise<void> {
  switch (key) {
    case 'blockdev':
      if (text === 'help') throw new BlockError('unsupported', 'Help is not available for this option');
      await callCommand(context, 'blockdev-add', parse(text, 'driver'), TEXT);
      break;
    case 'drive':
      await context.drives.add(parseDrive(text));
      break;
    case 'export':
      await callCommand(context, 'block-export-add', parse(text, 'type'), TEXT);
      break;
    case 'object':
      await context.graph.objects.add(text);
      break;
    case 'nbd-server':
      await startNbdServer(context, checkParameters('nbd-server', parse(text)));
      break;
    case 'chardev':
      await addChardev(context, checkedChardev(parse(text, 'backend')), daemonized);
      break;
    case 'monitor':
      monitors.add(checkParameters('monitor', parse(text, 'chardev')));
      break;
  }
}

async function addChardev(
  { chardevs }: QmpContext,
  options: ParametersOf<'chardev'>,
  daemonized: boolean,
): Promise<void> {
  if (daemonized && options.backend === 'stdio') {
    throw new BlockError('unsupported', 'cannot use stdio with -daemonize');
  }
  const { id } = options;
  try {
    const { pty } = await chardevs.add(
      id,
      () => settingsOfOptions(options),
      (error) => error,
    );
    if (pty !== undefined) write(`char device redirected to ${pty} (label ${id})\n`);
  } catch (error) {
    if (!(error instanceof BlockError) || error.code !== 'exists') throw error;
    // In the words that QEMU has for it here.
    throw new BlockError('exists', `attempt to add duplicate property '${id}' to object (type 'container')`);
  }
}

/** `key=value,...` or JSON. */
function parse(text: string, impliedKey?: string): object {
  if (!text.startsWith('{')) return parseKeyval(text, impliedKey);
  try {
    return parseJsonObject(text);
  } catch (error) {
    // What is wrong, without what the text was for: the option is named in front of it.
    throw error instanceof BlockError && error.cause instanceof BlockError ? error.cause : error;
  }
}

/** Closes exports and images before the monitors, so that these still get the reply to `quit` and the last events. */
async function closeAll(context: QmpContext, monitors: Monitors): Promise<void> {
  try {
    await context.close();
  } finally {
    await monitors.close();
  }
}

function removePidFile(path: string): void {
  try {
    unlinkSync(encodeName(path));
  } catch (error) {
    // The file may have been removed already.
    bestEffort('pid file')(error);
  }
}
