// The registry of drivers, one line for each.

import { registerDriver } from '../block/registry.js';
import { blkdebugDriver } from './filters/blkdebug/driver.js';
import { blklogwritesDriver } from './filters/blklogwrites.js';
import { blkverifyDriver } from './filters/blkverify.js';
import { compressDriver } from './filters/compress.js';
import { copyBeforeWriteDriver } from './filters/copy-before-write/driver.js';
import { copyOnReadDriver } from './filters/copy-on-read.js';
import { preallocateDriver } from './filters/preallocate.js';
import { quorumDriver } from './filters/quorum/driver.js';
import { snapshotAccessDriver } from './filters/snapshot-access.js';
import { throttleDriver } from './filters/throttle.js';
import { qcow2Driver } from './formats/qcow2/definition.js';
import { rawDriver } from './formats/raw/driver.js';
import { fileDriver, hostDeviceDriver } from './protocols/file/definition.js';
import { nbdDriver } from './protocols/nbd/driver.js';
import { nullAioDriver, nullCoDriver } from './protocols/null/driver.js';

/** Registers all drivers. Must be called before anything is opened; more calls do nothing. */
export function registerDrivers(): void {
  registerDriver(fileDriver);
  registerDriver(hostDeviceDriver);
  registerDriver(nbdDriver);
  registerDriver(nullCoDriver);
  registerDriver(nullAioDriver);
  registerDriver(rawDriver);
  registerDriver(qcow2Driver);
  registerDriver(blkdebugDriver);
  registerDriver(blkverifyDriver);
  registerDriver(blklogwritesDriver);
  registerDriver(quorumDriver);
  registerDriver(copyBeforeWriteDriver);
  registerDriver(snapshotAccessDriver);
  registerDriver(throttleDriver);
  registerDriver(copyOnReadDriver);
  registerDriver(compressDriver);
  registerDriver(preallocateDriver);
}
