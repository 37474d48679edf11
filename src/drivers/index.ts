// The registry of drivers, one line for each.

import { registerDriver } from '../block/registry.js';
import {
  blkdebugDriver,
  blklogwritesDriver,
  blkverifyDriver,
  compressDriver,
  copyBeforeWriteDriver,
  copyOnReadDriver,
  preallocateDriver,
  quorumDriver,
  snapshotAccessDriver,
  throttleDriver,
} from './filters/definitions.js';
import { luksDriver } from './formats/luks/definition.js';
import { qcow2Driver } from './formats/qcow2/definition.js';
import { rawDriver } from './formats/raw/driver.js';
import { fileDriver, hostDeviceDriver } from './protocols/file/definition.js';
import { nbdDriver } from './protocols/nbd/definition.js';
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
  registerDriver(luksDriver);
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
