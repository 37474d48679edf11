import { oracleSuite } from './suite.js';

oracleSuite('bitmap');
