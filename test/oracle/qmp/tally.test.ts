// The scripts of this folder have at least so many commands of each subject. They are counted where a file is loaded, and files run in different
// processes: a process of its own loads all of them, and runs none.

import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { TALLY_MARK } from './tally.js';

const FOLDER = fileURLToPath(new URL('.', import.meta.url));
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const LEAST = {
  graph: 450,
  bitmaps: 175,
  copy: 300,
  objects: 100,
  transaction: 60,
  exports: 120,
  jobs: 45,
  devices: 35,
};

describe('qmp against qemu-storage-daemon: scripts', () => {
  it('have many commands of each subject', () => {
    const own = fileURLToPath(import.meta.url);
    const files = readdirSync(FOLDER).filter((name) => name.endsWith('.test.ts') && `${FOLDER}${name}` !== own);
    const words = ['node_modules/mocha/bin/mocha.js', '--dry-run', ...files.map((name) => `${FOLDER}${name}`)];
    const env = { ...process.env, DISKWRIGHT_TALLY: '1' };
    const { stdout, stderr } = spawnSync(process.execPath, words, { cwd: ROOT, env, encoding: 'utf8' });
    const line = stdout.split('\n').find((text) => text.startsWith(TALLY_MARK));
    expect(line, stderr).to.be.a('string');
    const counts = JSON.parse((line as string).slice(TALLY_MARK.length));
    for (const [group, least] of Object.entries(LEAST)) expect(counts[group], group).to.be.at.least(least);
  });
});
