// The words for findings, for those who print them.

export { findingText } from '../block/finding-text.js';
