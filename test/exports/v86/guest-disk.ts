// A disk that a PC boots from, made of Debian's packages for i386 without any rights. It is made once a machine and kept.
//
//   sector 0        GRUB's boot.img, and the partition table
//   sector 1 ...    GRUB's core image: finds the partition and reads the rest of GRUB there
//   1 MiB ...       ext4: /boot with GRUB's modules and settings, the kernel and the initramfs
//
// GRUB writes to the disk, too (`save_env`). The initramfs loads the modules of the IDE controller and of ext4, mounts the partition at
// /mnt and runs what comes through the serial port, line by line.

import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { cpioArchive } from '../../hypervisor/guest/cpio.js';
import { modulesFor } from '../../hypervisor/guest/modules.js';
import { CACHE, unpacked } from '../../hypervisor/guest/packages.js';

const MiB = 1024 ** 2;
export const DISK_BYTES = 64 * MiB;
/** Where the file system begins. */
export const PARTITION_OFFSET = MiB;
const SECTOR = 512;
/** Where Debian keeps what only administrators have in their PATH. */
export const PROGRAMS = { ...process.env, PATH: `${process.env['PATH']}:/usr/sbin:/sbin` };

const MODULES = ['ata_piix', 'sd_mod', 'crc32c_generic', 'ext4'];
/** What an old GRUB and a new mke2fs both know. */
const FEATURES = 'none,has_journal,filetype,extent,sparse_super,large_file';

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /dev /proc /sys /mnt
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do insmod $module; done
while ! [ -b /dev/sda1 ]; do usleep 10000; done
mount -t ext4 /dev/sda1 /mnt
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -onlcr
echo ready
while read -r line; do
  eval "$line"
  echo "exit=$?."
done
`;

const GRUB_SETTINGS = `serial --unit=0 --speed=115200
terminal_output serial
load_env
echo "last boot: $booted"
set booted=yes
save_env booted
linux /boot/vmlinuz console=ttyS0,115200 quiet panic=-1
initrd /boot/initramfs
boot
`;

export interface GuestDisk {
  /** Raw image of the disk: to be copied, not to be written to. */
  disk: string;
  bios: string;
  vgaBios: string;
}

/** Throws, naming what is missing. */
export function guestDisk(): GuestDisk {
  const [linux, tools, grub, bios] = (
    [
      ['linux-image-686', 'linux-image-\\d'],
      ['busybox-static', undefined],
      ['grub-pc-bin', undefined],
      ['seabios', undefined],
    ] as const
  ).map(([name, prefix]) => {
    const folder = unpacked(name, prefix, 'i386');
    if (folder === null) throw new Error(`no package ${name} for i386: apt-get download finds none`);
    return folder;
  });
  for (const program of ['grub-mkimage', 'mke2fs', 'e2fsck', 'debugfs']) {
    const { status } = spawnSync('sh', ['-c', `command -v ${program}`], { env: PROGRAMS });
    if (status !== 0) throw new Error(`${program} is missing`);
  }
  // Made anew when anything that it is made of has changed.
  const sources = [linux, tools, grub, INIT, GRUB_SETTINGS, MODULES, FEATURES, DISK_BYTES];
  const key = createHash('sha256').update(sources.join('\0')).digest('hex').slice(0, 16);
  const made = join(CACHE, `disk-i386-${key}`);
  if (!existsSync(made)) {
    const folder = mkdtempSync(join(CACHE, 'new-'));
    try {
      const tree = join(folder, 'tree');
      makeTree(tree, linux, tools, grub);
      makeDisk(join(folder, 'disk'), tree, join(grub, 'root/usr/lib/grub/i386-pc'));
      rmSync(tree, { recursive: true });
      if (!existsSync(made)) renameSync(folder, made);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const rom = (name: string) => join(bios, 'root/usr/share/seabios', name);
  return { disk: join(made, 'disk'), bios: rom('bios.bin'), vgaBios: rom('vgabios-stdvga.bin') };
}

/** Of the places where releases of Debian have it, the one that is there. */
function oneOf(folder: string, ...names: string[]): string {
  const paths = names.map((name) => join(folder, 'root', name));
  const found = paths.find((path) => existsSync(path));
  if (found === undefined) throw new Error(`none of ${paths.join(', ')} is there`);
  return found;
}

/** What the file system is to hold. */
function makeTree(tree: string, linux: string, tools: string, grub: string): void {
  const boot = join(tree, 'boot');
  mkdirSync(join(boot, 'grub/i386-pc'), { recursive: true });
  const kernels = oneOf(linux, 'boot');
  const kernel = readdirSync(kernels).find((name) => name.startsWith('vmlinuz')) as string;
  copyFileSync(join(kernels, kernel), join(boot, 'vmlinuz'));

  const library = oneOf(linux, 'lib/modules', 'usr/lib/modules');
  const files = new Map<string, Uint8Array>([
    ['init', Buffer.from(INIT)],
    ['bin/busybox', readFileSync(oneOf(tools, 'bin/busybox', 'usr/bin/busybox'))],
  ]);
  modulesFor(join(library, readdirSync(library)[0]), MODULES).forEach(({ name, content }, i) => {
    files.set(`modules/${String(i).padStart(2, '0')}-${name}.ko`, content);
  });
  writeFileSync(join(boot, 'initramfs'), cpioArchive(files));

  const parts = oneOf(grub, 'usr/lib/grub/i386-pc');
  for (const name of readdirSync(parts)) {
    if (/\.(mod|lst)$/.test(name)) copyFileSync(join(parts, name), join(boot, 'grub/i386-pc', name));
  }
  writeFileSync(join(boot, 'grub/grub.cfg'), GRUB_SETTINGS);
  writeFileSync(join(boot, 'grub/grubenv'), '# GRUB Environment Block\nbooted=never\n'.padEnd(1024, '#'));
}

function makeDisk(disk: string, tree: string, grub: string): void {
  const core = `${disk}.core`;
  const words = ['-d', grub, '-O', 'i386-pc', '-p', '(hd0,msdos1)/boot/grub', '-o', core];
  execFileSync('grub-mkimage', [...words, 'biosdisk', 'part_msdos', 'ext2']);
  writeFileSync(disk, '');
  truncateSync(disk, DISK_BYTES);
  execFileSync(
    'mke2fs',
    ['-q', '-F', '-b', '4096', '-O', FEATURES, '-d', tree, '-E', `offset=${PARTITION_OFFSET}`].concat(
      disk,
      `${(DISK_BYTES - PARTITION_OFFSET) / 1024}k`,
    ),
    { env: PROGRAMS },
  );
  const file = openSync(disk, 'r+');
  try {
    writeSync(file, firstSector(readFileSync(join(grub, 'boot.img'))), 0, SECTOR, 0);
    const content = readFileSync(core);
    if (content.length > PARTITION_OFFSET - SECTOR) throw new Error('the core image of GRUB is too large');
    writeSync(file, content, 0, content.length, SECTOR);
  } finally {
    closeSync(file);
    rmSync(core);
  }
}

/** `bootImage` with a partition table of one partition in the place of its code for floppies. */
function firstSector(bootImage: Uint8Array): Buffer {
  const sector = Buffer.from(bootImage);
  sector.fill(0, 440, 510);
  const active = 0x80;
  const linux = 0x83;
  // First and last sector as cylinder, head and sector: beyond what they can say.
  const far = [0xfe, 0xff, 0xff];
  Buffer.from([active, ...far, linux, ...far]).copy(sector, 446);
  sector.writeUInt32LE(PARTITION_OFFSET / SECTOR, 454);
  sector.writeUInt32LE((DISK_BYTES - PARTITION_OFFSET) / SECTOR, 458);
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}
