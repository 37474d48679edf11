import { oracleSuite } from './suite.js';

oracleSuite('dd');
