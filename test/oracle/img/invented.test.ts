// Command lines that are invented from the verbs' own option tables, run by qemu-img and by us under its name on copies of the same images. Each
// difference has a heading of docs/differences.md (`explained.ts`), or is a fault.
//
//   DISKWRIGHT_SEED=7 npm test -- -g 'invented command lines'     that seed alone

import { expect } from 'chai';
import { cliBundle, run } from '../../support/cli.js';
import { requirePeer } from '../../support/peers.js';
import { SOAK, seedsOf, spanOf, timeLimit } from '../../support/sample.js';
import type { Program } from './beside.js';
import { headings } from './headings.js';
import { Images } from './images.js';
import { faultOf, inventedDifferences } from './invented.js';
import { StandingProgram } from './standing-program.js';

const SEEDS = seedsOf({ fixed: 1, soak: 20 });
const COMMANDS_A_SEED = SOAK ? 500 : 40;

describe('invented command lines of qemu-img', () => {
  let images: Images;
  const program = new StandingProgram('qemu-img');

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    images = Images.make();
  });
  after(async () => {
    images?.remove();
    await program.end();
  });

  it(`end as with qemu-img, or for a reason that is written down (${spanOf(SEEDS)})`, async function () {
    this.timeout(timeLimit(120_000));
    const faults: string[] = [];
    const ours = (words: readonly string[], folder: string) => program.run(words, folder);
    for (const seed of SEEDS) {
      const found = await inventedDifferences(seed, COMMANDS_A_SEED, images, ours);
      faults.push(...found.faults);
      expect([...headings()]).to.include.members([...found.explained.keys()]);
    }
    expect(faults.join('\n'), 'not explained').to.equal('');
  });

  it('are faults where a code, a message or a byte is wrong', async function () {
    this.timeout(timeLimit(120_000));
    const wrong: Record<string, Program> = {
      'exit code': async (words, folder) => {
        const said = await program.run(words, folder);
        return { ...said, code: said.code! + 1 };
      },
      errors: async (words, folder) => {
        const said = await program.run(words, folder);
        return { ...said, stderr: `${said.stderr}qemu-img: planted\n` };
      },
      'the content differs': async (words, folder) => {
        const said = await program.run(words, folder);
        if (words[0] !== 'compare') run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 77 2M 512', 'a.qcow2'], folder);
        return said;
      },
    };
    const command = { text: 'planted', commands: [['resize', 'a.qcow2', '12M']], reason: null };
    for (const [what, faulty] of Object.entries(wrong)) {
      const fault = await faultOf(command, images, faulty);
      expect(fault, what).to.include(what);
    }
    expect(await faultOf(command, images, (words, folder) => program.run(words, folder))).to.equal(null);
  });

  it('say in a process of their own what they say in one that stays', async function () {
    this.timeout(timeLimit(60_000));
    const bundle = await cliBundle();
    const command = ['check', 'leaks.qcow2'];
    const alone = run(process.execPath, [bundle, ...command], images.folder);
    const staying = await program.run(command, images.folder);
    expect(staying).to.deep.equal({ ...alone, stderr: alone.stderr.replaceAll('diskwright:', 'qemu-img:') });
  });
});
