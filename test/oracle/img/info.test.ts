import { oracleSuite } from './suite.js';

oracleSuite('info');
