// The command line, run by tests with files whose closing fails after a write: as it is where a network's file system reports then what it could
// not write.

import { main } from '../../src/cli/main.js';
import { printUnexpected } from '../../src/cli/output.js';
import { FileNode } from '../../src/drivers/protocols/file/driver.js';
import { BlockError } from '../../src/util/errors.js';

interface Closing {
  readonly filename: string;
  readonly readOnly: boolean;
  doClose(): Promise<void>;
}

const node = FileNode.prototype as unknown as Closing;
const close = node.doClose;
node.doClose = async function (this: Closing) {
  await close.call(this);
  if (this.readOnly) return;
  const { filename: path } = this;
  throw new BlockError('io', `${path}: close: i/o error`, { path, operation: 'close', errno: 'EIO' });
};

printUnexpected();
process.exitCode = await main(process.argv.slice(2));
