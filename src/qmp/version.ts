// Which monitor this is: management software goes by the version of QEMU whose commands it finds.

import type { VersionInfo } from '../schema/generated/types.js';
import type { QmpContext } from './context.js';

/** The newest QEMU whose block commands, as far as they are here, are those of this monitor. */
const FOLLOWED = { major: 10, minor: 0, micro: 0 } as const;

export function versionInfo(context: QmpContext): VersionInfo {
  return { qemu: FOLLOWED, package: context.package };
}
