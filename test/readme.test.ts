// The examples of README.md, docs/library.md, docs/jobs.md and docs/nbd.md do what they say: each block of the first three runs by itself, in an
// empty folder; those of docs/nbd.md follow one another.

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
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

  it('has links to what is there', () => {
    const text = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
    const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link]) => link);
    expect(links).to.include('docs/session.svg');
    expect(links.filter((link) => !existsSync(new URL(`../${link}`, import.meta.url)))).to.deep.equal([]);
  });

  it('shows a session as it is today: `node scripts/record-session.mjs` draws it', async function () {
    if (spawnSync('script', ['--version']).error !== undefined) this.skip();
    await cliBundle();
    const program = fileURLToPath(new URL('../scripts/record-session.mjs', import.meta.url));
    const { status, stderr } = spawnSync(process.execPath, [program, shop.path('now.svg')], { encoding: 'utf8' });
    expect({ status, stderr }).to.deep.equal({ status: 0, stderr: '' });
    const drawn = readFileSync(new URL('../docs/session.svg', import.meta.url), 'utf8');
    // On a machine that is busy the rate may stay below the limit.
    const steady = (text: string): string => text.replace(/[\d.]+ [KM]iB\/s {2}\d:\d\d/, 'RATE');
    expect(steady(readFileSync(shop.path('now.svg'), 'utf8'))).to.equal(steady(drawn));
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
