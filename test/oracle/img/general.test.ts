import { oracleSuite } from './suite.js';

oracleSuite('general');
