import { oracleSuite } from './suite.js';

oracleSuite('create');
