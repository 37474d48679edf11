import { oracleSuite } from './suite.js';

oracleSuite('measure');
