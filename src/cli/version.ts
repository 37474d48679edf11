// `diskwright --version`: the version, the I/O engine and the codecs.

import { openRealHost, type RealHost } from '../host/real/index.js';
import { toBlockError } from '../util/errors.js';
import { prettyJson } from './json.js';
import { PROGRAM, program } from './output.js';

/** Set by the bundler; when run from sources, npm's variable is used. */
declare const DISKWRIGHT_VERSION: string | undefined;

export async function versionText(): Promise<string> {
  const name =
    program() === PROGRAM ? `${PROGRAM} version ${packageVersion()}` : `${program()} ${packageVersion()} (Diskwright)`;
  return [name, ...(await foundation()), `node: ${process.version}`, ''].join('\n');
}

/** The same for programs, as one object: `engine` and `codecs` are null where the addon cannot be loaded, and `error` says why. */
export async function versionJson(): Promise<string> {
  const object = { name: PROGRAM, version: packageVersion(), ...(await jsonFoundation()), node: process.version };
  return `${prettyJson(object)}\n`;
}

async function jsonFoundation(): Promise<object> {
  let host: RealHost;
  try {
    host = openRealHost();
  } catch (error) {
    return { engine: null, codecs: null, error: toBlockError(error).message };
  }
  try {
    return { engine: host.engine, codecs: host.codecs.description.split(/,(?![^(]*\))\s*/) };
  } finally {
    await host.close();
  }
}

/** Lines on the engine and the codecs; where the addon cannot be loaded, the reason: `--version` is where people look first then. */
async function foundation(): Promise<string[]> {
  let host: RealHost;
  try {
    host = openRealHost();
  } catch (error) {
    return [`engine: none: ${toBlockError(error).message}`];
  }
  try {
    return [`engine: ${host.engine}`, `codecs: ${host.codecs.description}`];
  } finally {
    await host.close();
  }
}

/** The version of QEMU whose command lines are taken: what scripts compare. */
const FOLLOWED = '7.2.0';

/** What `--version` prints where the program is called by the name of a program of QEMU. */
export function followedVersion(name: string): string {
  return `${name} version ${FOLLOWED} (${packageText()})\n`;
}

/** For `query-version`. */
export function packageText(): string {
  return `Diskwright ${packageVersion()}`;
}

function packageVersion(): string {
  return typeof DISKWRIGHT_VERSION === 'string' ? DISKWRIGHT_VERSION : (process.env['npm_package_version'] ?? 'source');
}
