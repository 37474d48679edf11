import { oracleSuite } from './suite.js';

oracleSuite('map');
