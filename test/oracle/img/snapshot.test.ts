import { oracleSuite } from './suite.js';

oracleSuite('snapshot');
