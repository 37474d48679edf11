// All drivers: one line each.

import { registerDriver } from '../block/registry.js';
import { qcow2Driver } from './formats/qcow2/definition.js';
import { rawDriver } from './formats/raw/driver.js';
import { fileDriver, hostDeviceDriver } from './protocols/file/driver.js';
import { nbdDriver } from './protocols/nbd/driver.js';
import { nullDriver } from './protocols/null/driver.js';

/** Makes every driver known; to be called before anything is opened, any number of times. */
export function registerDrivers(): void {
  registerDriver(fileDriver);
  registerDriver(hostDeviceDriver);
  registerDriver(nbdDriver);
  registerDriver(nullDriver);
  registerDriver(rawDriver);
  registerDriver(qcow2Driver);
}
