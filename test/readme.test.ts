// The examples of README.md do what they say: each block runs by itself, in an empty folder.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { cliBundle, Workshop } from './support/cli.js';

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const LIBRARY = new URL('../src/index.ts', import.meta.url).href;
const TSX = pathToFileURL(fileURLToPath(import.meta.resolve('tsx'))).href;

/** A failed assertion ends the example. */
const STRICT = "console.assert = (good) => { if (!good) throw new Error('assertion failed'); };\n";

function blocks(language: string, section: string): string[] {
  const text = README.split(/^## /m).find((part) => part.startsWith(`${section}\n`)) ?? '';
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , code]) => code);
}

describe('README', function () {
  this.timeout(60_000);
  let shop: Workshop;

  beforeEach(async () => {
    shop = await Workshop.open();
  });
  afterEach(() => shop.remove());

  it('has examples of both the library and the command line', () => {
    expect(blocks('js', 'Library')).to.have.lengthOf.at.least(5);
    expect(blocks('sh', 'Command line')).to.have.lengthOf.at.least(1);
  });

  for (const [index, code] of blocks('js', 'Library').entries()) {
    it(`library example ${index + 1} runs`, () => {
      writeFileSync(shop.path('example.mts'), STRICT + code.replaceAll("'diskwright'", `'${LIBRARY}'`));
      const { status, stderr } = spawnSync(process.execPath, ['--import', TSX, 'example.mts'], {
        cwd: shop.folder,
        encoding: 'utf8',
      });
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    });
  }

  for (const [index, code] of blocks('sh', 'Command line').entries()) {
    it(`command line example ${index + 1} runs`, async () => {
      const program = `diskwright() { '${process.execPath}' '${await cliBundle()}' "$@"; }\nset -e\n`;
      const { status, stderr } = spawnSync('sh', ['-c', program + code], { cwd: shop.folder, encoding: 'utf8' });
      expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    });
  }
});
