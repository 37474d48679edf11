import { oracleSuite } from './suite.js';

oracleSuite('rebase');
