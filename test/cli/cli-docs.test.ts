// The examples of docs/cli.md: what is typed there prints what stands below it. Those of a section run one after the other, in one folder.

import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';
import { examplesOf } from '../support/examples.js';

const SECTIONS = ['images', 'copies', 'io'];

interface Typed {
  command: string;
  printed: string;
}

function typedIn(example: string): Typed[] {
  const [, ...parts] = example.split(/^\$ /m);
  return parts.map((part) => {
    const end = part.indexOf('\n');
    return { command: part.slice(0, end), printed: part.slice(end + 1) };
  });
}

/** Times and rates are never the same. */
function withoutTimes(text: string): string {
  return text.replace(/(\d ops); .*$/gm, '$1');
}

describe('docs/cli.md', () => {
  for (const section of SECTIONS) {
    it(`shows what ${section} prints`, async function () {
      this.timeout(30_000);
      const shop = await Workshop.open();
      try {
        const commands = shop.path('.bin');
        mkdirSync(commands);
        const launcher = `#!/bin/sh\nexec "${process.execPath}" "${shop.bundle}" "$@"\n`;
        writeFileSync(join(commands, 'diskwright'), launcher, { mode: 0o755 });
        const examples = examplesOf('docs/cli.md', 'console', section);
        expect(examples).to.have.lengthOf.above(2);
        for (const { command, printed } of examples.flatMap(typedIn)) {
          const { stdout, stderr } = spawnSync('sh', ['-c', command], {
            cwd: shop.folder,
            encoding: 'utf8',
            env: { ...process.env, PATH: `${commands}:${process.env['PATH']}` },
          });
          expect(withoutTimes(stdout + stderr).trimEnd(), command).to.equal(withoutTimes(printed).trimEnd());
        }
      } finally {
        shop.remove();
      }
    });
  }
});
