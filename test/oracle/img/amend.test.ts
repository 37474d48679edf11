import { oracleSuite } from './suite.js';

oracleSuite('amend');
