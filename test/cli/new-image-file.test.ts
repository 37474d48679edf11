// What a command says of the file that it was making an image in: nothing that it cannot know.

import { mkdirSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { NewImageFile } from '../../src/cli/new-image-file.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { BlockError } from '../../src/util/errors.js';
import { Workshop } from '../support/cli.js';

describe('what is left of a new image', () => {
  let shop: Workshop;
  before(async () => {
    registerDrivers();
    shop = await Workshop.open();
    mkdirSync(shop.path('d'));
  });
  after(() => shop.remove());

  it('is seen in an ordinary file', () => {
    const name = shop.path('d/file');
    const made = new NewImageFile(name);
    expect([made.left(), made.state()]).to.deep.equal([null, `'${name}' was not made.`]);
    writeFileSync(name, 'old');
    expect(made.state()).to.equal(`'${name}' is incomplete: delete it or start again.`);
    const written = new NewImageFile(`file:${name}`);
    expect(written.state()).to.equal(`'file:${name}' is unchanged.`);
    writeFileSync(name, '');
    expect(written.left()).to.equal(`'file:${name}' has lost its old content, and is incomplete: start again.`);
    // It is not ours to give up: another process makes it.
    const locked = new BlockError('locked', 'Failed to get "write" lock', { operation: 'lock' });
    const theirs = `'file:${name}' is in use by another process: leave it until that has ended.`;
    expect(written.left(locked)).to.equal(theirs);
    expect(written.left(new BlockError('locked', 'Could not open', { operation: 'open', cause: locked }))).to.equal(
      theirs,
    );
    // Also where that one has not written since.
    expect(new NewImageFile(`file:${name}`).left(locked)).to.equal(theirs);
    unlinkSync(name);
    expect([written.left(), written.left(locked)]).to.deep.equal([null, null]);
    rmSync(shop.path('d'), { recursive: true });
  });

  for (const name of ['/dev/null', 'nbd://host/export', 'nbd+unix:///?socket=s']) {
    it(`is not known of ${name}, once the image is being made`, () => {
      const file = new NewImageFile(name);
      const lost = `'${name}' may have lost its old content: start again.`;
      expect(file.state()).to.equal(lost);
      expect(file.state(false)).to.equal(`'${name}' is unchanged.`);
      expect(file.left(new BlockError('io', 'Input/output error', { operation: 'write' }))).to.equal(lost);
      // What is refused is refused before the first write.
      expect(file.left(new BlockError('invalid-argument', 'no such option'))).to.equal(null);
      expect(file.left(new BlockError('io', 'Connection refused', { operation: 'connect' }))).to.equal(null);
    });
  }
});
