// The page on the daemon: its commands do what it says, and its table is true.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { COMMANDS } from '../../src/schema/generated/table.js';
import { run, Workshop } from '../support/cli.js';
import { examplesOf } from '../support/examples.js';

describe('docs/daemon.md', () => {
  it('has commands that work as they stand', async () => {
    const shop = await Workshop.open();
    try {
      const script = examplesOf('docs/daemon.md', 'sh')
        .join('\n')
        .replace(/^diskwright /gm, `"$NODE" "$CLI" `);
      const { code, stdout, stderr } = run(
        '/bin/sh',
        ['-ec', `NODE=${process.execPath} CLI=${shop.bundle}\n${script}`],
        shop.folder,
      );
      expect(stderr).to.equal('');
      expect(code).to.equal(0);
      const [greeting, ...lines] = stdout
        .split('\r\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Record<string, unknown>);
      expect(greeting).to.have.property('QMP');
      expect(lines.filter((line) => 'error' in line)).to.deep.equal([]);
      const jobs = lines.map((line) => line['return']).find((value) => Array.isArray(value));
      expect(jobs).to.have.nested.property('[0].id', 'm');
      expect(stdout).to.match(/virtual size: 64 MiB/);
    } finally {
      shop.remove();
    }
  });

  it('lists every command', () => {
    const page = readFileSync(new URL('../../docs/daemon.md', import.meta.url), 'utf8');
    const table = page.slice(page.indexOf('| subject |'), page.indexOf('`query-qmp-schema` describes'));
    const words = [...table.matchAll(/`([^`]+)`/g)].map(([, word]) => word);
    // `-add` behind `block-dirty-bitmap-add` stands for a command that begins as that one does.
    const missing = Object.keys(COMMANDS).filter(
      (name) => !words.some((word) => word === name || (word.startsWith('-') && name.endsWith(word))),
    );
    expect(missing.filter((name) => !name.startsWith('block-job-'))).to.deep.equal([]);
  });
});

describe('docs/qmp.md', () => {
  it('has a session that can be typed', async () => {
    const shop = await Workshop.open();
    try {
      const [script] = examplesOf('docs/qmp.md', 'sh').map((code) => code.replace(/^diskwright /gm, '"$NODE" "$CLI" '));
      const words = ['-ec', `NODE=${process.execPath} CLI=${shop.bundle}\n${script}`];
      const { code, stdout, stderr } = run('/bin/sh', words, shop.folder);
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      const [text, info] = [stdout.slice(0, stdout.lastIndexOf('\r\n')), stdout.slice(stdout.lastIndexOf('\r\n'))];
      const lines = text.split('\r\n').map((line) => JSON.parse(line) as Record<string, unknown>);
      const errors = lines.filter((line) => 'error' in line);
      expect(errors.map(({ id }) => id)).to.deep.equal(['an error']);
      expect(lines.find(({ id }) => id === 'how far is it?')).to.have.nested.property('return[0].id', 'b');
      expect(info).to.match(/backing file: .*disk\.qcow2/);
      shop.must('qemu-img', 'check', '-q', 'backup.qcow2');
    } finally {
      shop.remove();
    }
  });
});
