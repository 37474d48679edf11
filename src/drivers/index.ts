// The registry of drivers, one line for each. A format whose driver is still to come has its line, too: its images are refused by name.

import { registerDriver, registerRecogniser } from '../block/registry.js';
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
import { bochsDriver } from './formats/bochs/definition.js';
import { cloopDriver } from './formats/cloop/definition.js';
import { probeDmg } from './formats/dmg/probe.js';
import { luksDriver } from './formats/luks/definition.js';
import { probeParallels } from './formats/parallels/probe.js';
import { probeQcow } from './formats/qcow/probe.js';
import { qcow2Driver } from './formats/qcow2/definition.js';
import { qedDriver } from './formats/qed/definition.js';
import { rawDriver } from './formats/raw/driver.js';
import { vdiDriver } from './formats/vdi/definition.js';
import { probeVhdx } from './formats/vhdx/probe.js';
import { vmdkDriver } from './formats/vmdk/definition.js';
import { vpcDriver } from './formats/vpc/definition.js';
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
  registerRecogniser('qcow', (head) => probeQcow(head));
  registerDriver(qedDriver);
  registerDriver(vdiDriver);
  registerRecogniser('vhdx', (head) => probeVhdx(head));
  registerDriver(vpcDriver);
  registerDriver(vmdkDriver);
  registerRecogniser('parallels', (head) => probeParallels(head));
  registerDriver(bochsDriver);
  // Before cloop: the first of those that are equally sure is taken.
  registerRecogniser('dmg', (head, filename) => probeDmg(head, filename));
  registerDriver(cloopDriver);
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
