import { oracleSuite } from './suite.js';

oracleSuite('check');
