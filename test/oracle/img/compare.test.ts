import { oracleSuite } from './suite.js';

oracleSuite('compare');
