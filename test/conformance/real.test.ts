// The suite on the real host: over each engine, or the one that DISKWRIGHT_ENGINE names.

import { suitesOver } from './over.js';
import { REAL_PLACES } from './place.js';

suitesOver(REAL_PLACES);
