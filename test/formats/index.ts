// What the suites that run over every format need of each: one folder and one line a format. The conformance suite and the one of malformed images go through this list.

import { BOCHS } from './bochs/fixture.js';
import { CLOOP } from './cloop/fixture.js';
import { COW } from './cow/fixture.js';
import { DMG } from './dmg/fixture.js';
import type { FormatFixture } from './fixture.js';
import { PARALLELS } from './parallels/fixture.js';
import { QCOW } from './qcow/fixture.js';
import { QCOW2 } from './qcow2/fixture.js';
import { QED } from './qed/fixture.js';
import { RAW } from './raw/fixture.js';
import { VDI } from './vdi/fixture.js';
import { VHDX } from './vhdx/fixture.js';
import { VMDK } from './vmdk/fixture.js';
import { VPC } from './vpc/fixture.js';

export const FORMATS: readonly FormatFixture[] = [
  RAW,
  QCOW2,
  QCOW,
  QED,
  VDI,
  VHDX,
  VMDK,
  VPC,
  PARALLELS,
  BOCHS,
  CLOOP,
  COW,
  DMG,
];
