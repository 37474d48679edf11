// `diskwright --version`: what this is, and which engine and codecs it runs on.

import { openRealHost } from '../host/real/index.js';
import { PROGRAM, program } from './output.js';

/** Set by the bundler; from sources the package itself is asked. */
declare const DISKWRIGHT_VERSION: string | undefined;

export async function versionText(): Promise<string> {
  const host = openRealHost();
  try {
    return [
      program() === PROGRAM
        ? `${PROGRAM} version ${packageVersion()}`
        : `${program()} ${packageVersion()} (Diskwright)`,
      `engine: ${host.engine}`,
      `codecs: ${host.codecs.description}`,
      `node: ${process.version}`,
      '',
    ].join('\n');
  } finally {
    await host.close();
  }
}

function packageVersion(): string {
  return typeof DISKWRIGHT_VERSION === 'string' ? DISKWRIGHT_VERSION : (process.env['npm_package_version'] ?? 'source');
}
