// The suite on the simulated host, which has no engine.

import { suitesOver } from './over.js';
import { SIMULATED_PLACES } from './place.js';

suitesOver(SIMULATED_PLACES);
