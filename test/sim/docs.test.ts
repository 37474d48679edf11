// The example of docs/sim.md does what it says. (test/package runs it from the installed package.)

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect } from 'chai';

const PAGE = readFileSync(new URL('../../docs/sim.md', import.meta.url), 'utf8');
const LIBRARY = new URL('../../src/index.ts', import.meta.url).href;
const SIM = new URL('../../src/sim.ts', import.meta.url).href;
const TSX = pathToFileURL(fileURLToPath(import.meta.resolve('tsx'))).href;

/** A failed assertion ends the example. */
const STRICT = 'console.assert = (good, why) => { if (!good) throw new Error(why); };\n';

function runExample(change: (code: string) => string) {
  const [, code] = /^```js\n(.*?)^```$/ms.exec(PAGE)!;
  const folder = mkdtempSync(join(tmpdir(), 'diskwright-sim-'));
  try {
    const text = change(code).replace("'diskwright'", `'${LIBRARY}'`).replace("'diskwright/sim'", `'${SIM}'`);
    writeFileSync(join(folder, 'example.mts'), STRICT + text);
    const { status, stderr } = spawnSync(process.execPath, ['--import', TSX, 'example.mts'], {
      cwd: folder,
      encoding: 'utf8',
    });
    return { status, stderr };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('docs/sim.md', function () {
  this.timeout(60_000);

  it('has an example that runs', () => {
    expect(runExample((code) => code)).to.deep.equal({ status: 0, stderr: '' });
  });

  it('has an example that finds a disk that lies', () => {
    const { status, stderr } = runExample((code) => code.replace('powerLossAt:', 'ignoreFlush: true, powerLossAt:'));
    expect(status).to.equal(1);
    expect(stderr).to.match(/is lost|is corrupt|BlockError: /);
  });
});
