import { oracleSuite } from './suite.js';

oracleSuite('bench');
