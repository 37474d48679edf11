import { oracleSuite } from './suite.js';

oracleSuite('resize');
