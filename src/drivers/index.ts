// The registry of drivers, one line for each.

import { registerDriver } from '../block/registry.js';
import { blkdebugDriver } from './filters/blkdebug/driver.js';
import { copyBeforeWriteDriver } from './filters/copy-before-write/driver.js';
import { snapshotAccessDriver } from './filters/snapshot-access.js';
import { qcow2Driver } from './formats/qcow2/definition.js';
import { rawDriver } from './formats/raw/driver.js';
import { fileDriver, hostDeviceDriver } from './protocols/file/driver.js';
import { nbdDriver } from './protocols/nbd/driver.js';
import { nullDriver } from './protocols/null/driver.js';

/** Registers all drivers. Must be called before anything is opened; more calls do nothing. */
export function registerDrivers(): void {
  registerDriver(fileDriver);
  registerDriver(hostDeviceDriver);
  registerDriver(nbdDriver);
  registerDriver(nullDriver);
  registerDriver(rawDriver);
  registerDriver(qcow2Driver);
  registerDriver(blkdebugDriver);
  registerDriver(copyBeforeWriteDriver);
  registerDriver(snapshotAccessDriver);
}
