import { oracleSuite } from './suite.js';

oracleSuite('convert');
