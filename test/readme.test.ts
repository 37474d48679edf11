// The examples of README.md, docs/library.md, docs/jobs.md and docs/nbd.md do what they say: each block of the first three runs by itself, in an
// empty folder; those of docs/nbd.md follow one another.

import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { cliBundle, Workshop } from './support/cli.js';
import { examplesOf, runExample } from './support/examples.js';
import { requirePeer } from './support/peers.js';

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
    expect(examplesOf('README.md', 'js', 'Library')).to.have.lengthOf.at.least(5);
    expect(examplesOf('README.md', 'sh', 'Command line')).to.have.lengthOf.at.least(1);
  });

  for (const [page, section] of [['README.md', 'Library'], ['docs/library.md'], ['docs/jobs.md']]) {
    for (const [index, code] of examplesOf(page, 'js', section).entries()) {
      it(`${page}: library example ${index + 1} runs`, () => {
        expect(runExample(shop, code)).to.deep.equal({ status: 0, stderr: '' });
      });
    }
  }

  for (const [index, code] of [
    ...examplesOf('README.md', 'sh', 'Command line'),
    ...examplesOf('README.md', 'sh', 'Serving an image'),
  ].entries()) {
    it(`command line example ${index + 1} runs`, async () => {
      expect(await runShell(shop, code)).to.deep.equal({ status: 0, stderr: '' });
    });
  }

  it('docs/nbd.md: its commands run, one after the other', async function () {
    requirePeer(this, 'openssl');
    const commands = examplesOf('docs/nbd.md', 'sh');
    expect(commands).to.have.lengthOf(5);
    // Of what openssl says about its keys, nobody needs to know.
    const quiet = commands.map((code) => code.replaceAll(/^openssl (req|x509) /gm, 'quietly openssl $1 '));
    const quietly = 'quietly() { "$@" 2>quiet || { cat quiet >&2; false; }; }\n';
    expect(await runShell(shop, quietly + quiet.join('\n'))).to.deep.equal({ status: 0, stderr: '' });
  });
});
