// All drivers: one line each.

import { registerDriver } from '../block/registry.js';
import { rawDriver } from './formats/raw/driver.js';
import { fileDriver, hostDeviceDriver } from './protocols/file/driver.js';
import { nullDriver } from './protocols/null/driver.js';

registerDriver(fileDriver);
registerDriver(hostDeviceDriver);
registerDriver(nullDriver);
registerDriver(rawDriver);
