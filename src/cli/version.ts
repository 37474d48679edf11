// `diskwright --version`: what this is, and which engine and codecs it runs on.

import { openRealHost, type RealHost } from '../host/real/index.js';
import { toBlockError } from '../util/errors.js';
import { PROGRAM, program } from './output.js';

/** Set by the bundler; from sources the package itself is asked. */
declare const DISKWRIGHT_VERSION: string | undefined;

export async function versionText(): Promise<string> {
  const name =
    program() === PROGRAM ? `${PROGRAM} version ${packageVersion()}` : `${program()} ${packageVersion()} (Diskwright)`;
  return [name, ...(await foundation()), `node: ${process.version}`, ''].join('\n');
}

/** What it runs on; where that cannot be had, why: whoever has this trouble asks for the version first. */
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

function packageVersion(): string {
  return typeof DISKWRIGHT_VERSION === 'string' ? DISKWRIGHT_VERSION : (process.env['npm_package_version'] ?? 'source');
}
