import { oracleSuite } from './suite.js';

oracleSuite('commit');
