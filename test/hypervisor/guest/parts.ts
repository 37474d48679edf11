// What a guest is made of: a kernel with an initramfs, and a root file system. All of it is made once a machine and kept.
//
//   initramfs /init        loads the modules of virtio, mounts /dev/vda, goes on there
//   /dev/vda  /sbin/init   busybox, and the agent (`agent.c`), which serves the test through a serial port
//   /dev/vdb               the data disk, mounted at /data where the kernel is told `data`

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { cpioArchive } from './cpio.js';
import { modulesFor } from './modules.js';
import { CACHE, unpacked } from './packages.js';

const AGENT = fileURLToPath(new URL('agent.c', import.meta.url));
const KERNELS = ['linux-image-cloud-amd64', 'linux-image-amd64'];
const MODULES = [
  'crc32c_generic',
  'virtio_pci',
  'virtio_blk',
  'virtio_console',
  'ext4',
  'vfat',
  'nls_cp437',
  'nls_ascii',
  'nls_utf8',
];
/** Where Debian keeps what only administrators have in their PATH. */
export const PROGRAMS = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };
export const ROOT_BYTES = 96 * 1024 ** 2;
export const DATA_BYTES = 256 * 1024 ** 2;

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /root
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for module in /modules/*; do /bin/busybox insmod $module; done
case "$(/bin/busybox cat /proc/cmdline)" in *probe*) /bin/busybox poweroff -f;; esac
while ! /bin/busybox [ -b /dev/vda ]; do /bin/busybox usleep 10000; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox mount -o move /dev /root/dev
/bin/busybox mount -o move /proc /root/proc
exec /bin/busybox switch_root /root /sbin/init
`;

const ROOT_INIT = `#!/bin/sh
export PATH=/bin:/sbin
mount -t sysfs sys /sys
case "$(cat /proc/cmdline)" in *data*) mount -t ext4 /dev/vdb /data || exit;; esac
for port in /sys/class/virtio-ports/*; do
  [ "$(cat $port/name)" = diskwright.agent ] && exec /bin/agent /dev/$(basename $port)
done
`;

export interface GuestParts {
  kernel: string;
  initramfs: string;
  /** Raw images of ext4 file systems: the root's, and an empty one. */
  root: string;
  data: string;
}

/** Throws, naming what is missing. */
export function guestParts(): GuestParts {
  let place: string | null = null;
  for (const name of KERNELS) place ??= unpacked(name, 'linux-image-\\d');
  if (place === null) throw new Error(`no kernel: apt-get download finds none of ${KERNELS.join(', ')}`);
  const tools = unpacked('busybox-static');
  if (tools === null) throw new Error('no busybox: apt-get download finds no busybox-static');
  for (const program of ['mke2fs', 'e2fsck', 'debugfs', 'cc']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`], { env: PROGRAMS }).status !== 0) {
      throw new Error(`${program} is missing`);
    }
  }
  const boot = join(place, 'root', 'boot');
  const kernel = join(boot, readdirSync(boot).find((name) => name.startsWith('vmlinuz')) as string);
  const library = ['lib/modules', 'usr/lib/modules']
    .map((name) => join(place, 'root', name))
    .find(existsSync) as string;
  const busybox = ['bin/busybox', 'usr/bin/busybox']
    .map((name) => join(tools, 'root', name))
    .find(existsSync) as string;

  // Made anew when anything that they are made of has changed.
  const sizes = `${ROOT_BYTES} ${DATA_BYTES}`;
  const sources = [place, tools, INIT, ROOT_INIT, MODULES.join(' '), readFileSync(AGENT, 'utf8'), sizes];
  const key = createHash('sha256').update(sources.join('\0')).digest('hex').slice(0, 16);
  const made = join(CACHE, `parts-${key}`);
  if (!existsSync(made)) {
    const folder = mkdtempSync(join(CACHE, 'new-'));
    makeInitramfs(join(folder, 'initramfs'), busybox, join(library, readdirSync(library)[0]));
    makeRoot(folder, busybox);
    makeFileSystem(join(folder, 'data'), DATA_BYTES, []);
    if (existsSync(made)) rmSync(folder, { recursive: true });
    else renameSync(folder, made);
  }
  return { kernel, initramfs: join(made, 'initramfs'), root: join(made, 'root'), data: join(made, 'data') };
}

function makeInitramfs(path: string, busybox: string, moduleFolder: string): void {
  const files = new Map<string, Uint8Array>([
    ['init', Buffer.from(INIT)],
    ['bin/busybox', readFileSync(busybox)],
  ]);
  modulesFor(moduleFolder, MODULES).forEach(({ name, content }, i) => {
    files.set(`modules/${String(i).padStart(2, '0')}-${name}.ko`, content);
  });
  writeFileSync(path, gzipSync(cpioArchive(files), { level: 1 }));
}

function makeRoot(folder: string, busybox: string): void {
  const tree = join(folder, 'tree');
  for (const name of ['bin', 'sbin', 'dev', 'proc', 'sys', 'data']) mkdirSync(join(tree, name), { recursive: true });
  copyFileSync(busybox, join(tree, 'bin', 'busybox'));
  writeFileSync(join(tree, 'sbin', 'init'), ROOT_INIT, { mode: 0o755 });
  execFileSync('cc', ['-static', '-O2', '-o', join(tree, 'bin', 'agent'), AGENT]);
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  for (const name of applets) if (name !== 'busybox') execFileSync('ln', ['-sf', 'busybox', join(tree, 'bin', name)]);
  makeFileSystem(join(folder, 'root'), ROOT_BYTES, ['-d', tree]);
  rmSync(tree, { recursive: true });
}

function makeFileSystem(path: string, bytes: number, words: readonly string[]): void {
  execFileSync('mke2fs', ['-q', '-F', '-t', 'ext4', '-b', '4096', ...words, path, `${bytes / 1024}k`], {
    env: PROGRAMS,
  });
}
