// `npm run demo`: the main job on real images. Copies the chain of images/ (made by qemu-img) to a scratch folder, runs backup,
// mirror, stream and commit on it under a rate limit, and compares every result with what the chain read as before.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const CLI = join(ROOT, 'dist', 'cli.cjs');
const folder = mkdtempSync(join(tmpdir(), 'diskwright-demo-'));

function run(name, program, words) {
  console.log(`\n$ ${name} ${words.filter((word) => word !== CLI).join(' ')}`);
  const { status, error } = spawnSync(program, words, { cwd: folder, stdio: 'inherit' });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${name} ended with ${status}`);
}

const diskwright = (...words) => run('diskwright', process.execPath, [CLI, ...words]);

/** The chain as it was made: base <- mid <- top. */
function freshChain() {
  for (const name of ['base', 'mid', 'top']) {
    copyFileSync(join(ROOT, 'images', `${name}.qcow2`), join(folder, `${name}.qcow2`));
  }
}

try {
  freshChain();
  diskwright('info', '--backing-chain', 'top.qcow2');
  diskwright('map', '--output=json', 'top.qcow2');
  diskwright('convert', '-p', '-O', 'raw', 'top.qcow2', 'before.raw');

  diskwright('backup', '-p', '--speed=40M', '--compress', '--target=backup.qcow2', 'top.qcow2');
  diskwright('compare', '-f', 'raw', '-F', 'qcow2', 'before.raw', 'backup.qcow2');
  diskwright('mirror', '-p', '--speed=40M', '--target=mirror.qcow2', 'top.qcow2');
  diskwright('compare', '-f', 'raw', '-F', 'qcow2', 'before.raw', 'mirror.qcow2');

  diskwright('stream', '-p', '--speed=40M', '--base=base.qcow2', 'top.qcow2');
  diskwright('info', '--backing-chain', 'top.qcow2');
  diskwright('compare', '-f', 'raw', '-F', 'qcow2', 'before.raw', 'top.qcow2');

  freshChain();
  diskwright('commit', '-p', '--speed=40M', 'top.qcow2');
  diskwright('compare', '-f', 'raw', '-F', 'qcow2', 'before.raw', 'mid.qcow2');
  diskwright('check', 'base.qcow2', 'mid.qcow2', 'top.qcow2', 'mirror.qcow2', 'backup.qcow2');

  if (spawnSync('qemu-img', ['--version']).status === 0) {
    console.log('\nqemu-img is here, so it may say what it thinks:');
    for (const name of ['mid', 'top', 'mirror', 'backup']) run('qemu-img', 'qemu-img', ['check', `${name}.qcow2`]);
    run('qemu-img', 'qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', 'before.raw', 'top.qcow2']);
  }
  console.log('\nEvery image reads as it should.');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
