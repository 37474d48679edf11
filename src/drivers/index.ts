// The registry of drivers, one line for each. A format that nobody uses by default says here how it is recognised, and its driver is made when it is asked for: each command
// pays for what it uses.

import { registerDriver, registerFormat } from '../block/registry.js';
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
import { probeBochs } from './formats/bochs/probe.js';
import { cloopDriver } from './formats/cloop/definition.js';
import { probeCloop } from './formats/cloop/probe.js';
import { cowDriver } from './formats/cow/definition.js';
import { probeCow } from './formats/cow/probe.js';
import { dmgDriver } from './formats/dmg/definition.js';
import { probeDmg } from './formats/dmg/probe.js';
import { luksDriver } from './formats/luks/definition.js';
import { parallelsDriver } from './formats/parallels/definition.js';
import { probeParallels } from './formats/parallels/probe.js';
import { qcowDriver } from './formats/qcow/definition.js';
import { probeQcow } from './formats/qcow/probe.js';
import { qcow2Driver } from './formats/qcow2/definition.js';
import { qedDriver } from './formats/qed/definition.js';
import { probeQed } from './formats/qed/probe.js';
import { rawDriver } from './formats/raw/definition.js';
import { vdiDriver } from './formats/vdi/definition.js';
import { probeVdi } from './formats/vdi/probe.js';
import { vhdxDriver } from './formats/vhdx/definition.js';
import { probeVhdx } from './formats/vhdx/probe.js';
import { vmdkDriver } from './formats/vmdk/definition.js';
import { probeVmdk } from './formats/vmdk/probe.js';
import { vpcDriver } from './formats/vpc/definition.js';
import { probeVpc } from './formats/vpc/probe.js';
import { fileDriver, hostDeviceDriver } from './protocols/file/definition.js';
import { httpDriver, httpsDriver } from './protocols/http/definition.js';
import { nbdDriver } from './protocols/nbd/definition.js';
import { nullAioDriver, nullCoDriver } from './protocols/null/driver.js';
import { sshDriver } from './protocols/ssh/definition.js';
import { vvfatDriver } from './protocols/vvfat/definition.js';

/** Registers all drivers. Must be called before anything is opened; more calls do nothing. */
export function registerDrivers(): void {
  registerDriver(fileDriver);
  registerDriver(hostDeviceDriver);
  registerDriver(nbdDriver);
  registerDriver(httpDriver);
  registerDriver(httpsDriver);
  registerDriver(sshDriver);
  registerDriver(nullCoDriver);
  registerDriver(nullAioDriver);
  registerDriver(vvfatDriver);
  registerDriver(rawDriver);
  registerDriver(qcow2Driver);
  registerDriver(luksDriver);
  registerFormat({ name: 'qcow', probe: (head) => probeQcow(head), definition: () => qcowDriver });
  registerFormat({ name: 'qed', probe: (head) => probeQed(head), definition: () => qedDriver });
  registerFormat({ name: 'vdi', probe: (head) => probeVdi(head), definition: () => vdiDriver });
  registerFormat({ name: 'vhdx', probe: (head) => probeVhdx(head), definition: () => vhdxDriver });
  registerFormat({ name: 'vpc', probe: (head) => probeVpc(head), definition: () => vpcDriver });
  registerFormat({ name: 'vmdk', probe: (head) => probeVmdk(head), definition: () => vmdkDriver });
  registerFormat({ name: 'parallels', probe: (head) => probeParallels(head), definition: () => parallelsDriver });
  registerFormat({ name: 'bochs', probe: (head) => probeBochs(head), definition: () => bochsDriver });
  registerFormat({ name: 'cow', probe: (head) => probeCow(head), definition: () => cowDriver });
  // Before cloop: the first of those that are equally sure is taken.
  registerFormat({ name: 'dmg', probe: (head, filename) => probeDmg(head, filename), definition: () => dmgDriver });
  registerFormat({ name: 'cloop', probe: (head) => probeCloop(head), definition: () => cloopDriver });
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
