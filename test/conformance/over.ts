// One suite over every driver, each with what it claims (manifest.ts), on every host (place.ts). What holds for one holds for all.

import { leaveOut } from '../support/needs.js';
import { contentBehaviours } from './content.js';
import type { DriverEntry } from './entry.js';
import { faultBehaviours } from './faults.js';
import { FILTERS } from './filters.js';
import { layerBehaviours } from './layers.js';
import { lifeBehaviours } from './life.js';
import { DRIVERS } from './manifest.js';
import type { PlaceKind } from './place.js';
import { sideBySideBehaviours } from './side-by-side.js';
import { sizeBehaviours } from './size.js';
import { STACKS } from './stacks.js';
import { suiteOf } from './suite.js';

const BEHAVIOURS = [
  contentBehaviours,
  sideBySideBehaviours,
  lifeBehaviours,
  sizeBehaviours,
  layerBehaviours,
  faultBehaviours,
];

function runsOn({ simulated, device }: PlaceKind, driver: DriverEntry): boolean {
  if (simulated) return driver.simulated;
  return device ? driver.onDevice !== null : driver.real;
}

/** The suite of every driver in each kind of place. */
export function suitesOver(kinds: readonly PlaceKind[]): void {
  for (const kind of kinds) {
    for (const driver of [...DRIVERS, ...STACKS, ...FILTERS]) {
      if (!runsOn(kind, driver)) continue;
      describe(`${driver.name} (${kind.name})`, () => {
        before(function () {
          const lack = kind.lacks();
          if (lack !== null) leaveOut(this, lack);
        });
        const suite = suiteOf(kind, driver);
        for (const behaviours of BEHAVIOURS) behaviours(suite);
      });
    }
  }
}
