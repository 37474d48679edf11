// The examples of README.md and docs/nbd.md do what they say: each block of README.md runs by itself, in an empty folder; those of docs/nbd.md
// follow one another.

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';
import { cliBundle, Workshop } from './support/cli.js';
import { requirePeer } from './support/peers.js';

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const LIBRARY = new URL('../src/index.ts', import.meta.url).href;
const TSX = pathToFileURL(fileURLToPath(import.meta.resolve('tsx'))).href;

/** A failed assertion ends the example. */
const STRICT = "console.assert = (good) => { if (!good) throw new Error('assertion failed'); };\n";

function blocks(language: string, section: string): string[] {
  return blocksOf(language, README.split(/^## /m).find((part) => part.startsWith(`${section}\n`)) ?? '');
}

function blocksOf(language: string, text: string): string[] {
  return [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].filter(([, of]) => of === language).map(([, , code]) => code);
}

/** Runs what a person types. */
async function runShell(shop: Workshop, code: string): Promise<{ status: number | null; stderr: string }> {
  const program = `diskwright() { '${process.execPath}' '${await cliBundle()}' "$@"; }\nset -e\n`;
  // A server in the background that an example has left behind when it failed.
  const end = `trap '[ ! -e disk.pid ] || command kill $(cat disk.pid) 2>/dev/null || true' EXIT\n`;
  // A person types more slowly: the server that was told to end holds its file until it has.
  const kill = 'kill() { command kill "$@"; flock disk.pid true; }\n';
  const { status, stderr } = spawnSync('sh', ['-c', end + kill + program + code], {
    cwd: shop.folder,
    encoding: 'utf8',
  });
  return { status, stderr };
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

  for (const [index, code] of [...blocks('sh', 'Command line'), ...blocks('sh', 'Serving an image')].entries()) {
    it(`command line example ${index + 1} runs`, async () => {
      expect(await runShell(shop, code)).to.deep.equal({ status: 0, stderr: '' });
    });
  }

  it('docs/nbd.md: its commands run, one after the other', async function () {
    requirePeer(this, 'openssl');
    const commands = blocksOf('sh', readFileSync(new URL('../docs/nbd.md', import.meta.url), 'utf8'));
    expect(commands).to.have.lengthOf(4);
    // Of what openssl says about its keys, nobody needs to know.
    const quiet = commands.map((code) => code.replaceAll(/^openssl (req|x509) /gm, 'quietly openssl $1 '));
    const quietly = 'quietly() { "$@" 2>quiet || { cat quiet >&2; false; }; }\n';
    expect(await runShell(shop, quietly + quiet.join('\n'))).to.deep.equal({ status: 0, stderr: '' });
  });
});
