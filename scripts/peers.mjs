// The programs that tests and benchmarks compare with, where Debian keeps them, and how they get here.
import { execFileSync, spawnSync } from 'node:child_process';

/** Program -> Debian packages that may hold it, the likeliest first. */
const PACKAGES = {
  'qemu-img': ['qemu-utils'],
  'qemu-io': ['qemu-utils'],
  'qemu-nbd': ['qemu-utils'],
  'qemu-storage-daemon': ['qemu-system-common', 'qemu-utils', 'qemu-storage-daemon'],
  '7zz': ['7zip'],
  vhdimount: ['libvhdi-utils'],
  vmdkmount: ['libvmdk-utils'],
  qcowmount: ['libqcow-utils'],
  cryptsetup: ['cryptsetup-bin'],
  dmg2img: ['dmg2img'],
  fio: ['fio'],
  nbdkit: ['nbdkit'],
  nbdinfo: ['libnbd-bin'],
  nbdcopy: ['libnbd-bin'],
  nbdsh: ['python3-libnbd'],
  'nbd-client': ['nbd-client'],
  socat: ['socat'],
  nginx: ['nginx-light', 'nginx'],
  sshd: ['openssh-server'],
  'ssh-agent': ['openssh-client'],
  // QEMU's ssh driver, which is a module.
  'block-ssh.so': ['qemu-block-extra'],
  nc: ['netcat-openbsd', 'netcat-traditional'],
  'grub-mkimage': ['grub-common'],
  'qemu-system-x86_64': ['qemu-system-x86'],
  mke2fs: ['e2fsprogs'],
  mcopy: ['mtools'],
  'fsck.fat': ['dosfstools'],
  openssl: ['openssl'],
  uml_moo: ['uml-utilities'],
  python3: ['python3'],
};

/** All of them. */
export const PEERS = Object.keys(PACKAGES);

function has(program) {
  if (program.endsWith('.so'))
    return spawnSync('sh', ['-c', `ls /usr/lib/*/qemu/${program}`], { stdio: 'ignore' }).status === 0;
  // nbd-client is where Debian keeps what is for administrators.
  return spawnSync('sh', ['-c', `PATH="$PATH:/usr/sbin"; command -v ${program}`]).status === 0;
}

/** The command that may install packages, or null. */
function aptCommand() {
  if (!has('apt-get')) return null;
  if (process.getuid() === 0) return ['apt-get'];
  return spawnSync('sudo', ['-n', 'true']).status === 0 ? ['sudo', '-n', 'apt-get'] : null;
}

/** Installs what is missing of `programs` where that is allowed; returns those that are still missing. */
export function ensurePeers(programs) {
  const missing = () => programs.filter((program) => !has(program));
  if (missing().length === 0) return [];
  const apt = aptCommand();
  if (apt !== null) {
    const run = (...words) =>
      spawnSync(apt[0], [...apt.slice(1), ...words], {
        stdio: ['ignore', 'ignore', 'inherit'],
        env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      }).status === 0;
    console.log(`installing with apt: ${missing().join(', ')}`);
    run('update', '-q');
    for (const program of missing()) {
      PACKAGES[program].some((name) => run('install', '-y', '-q', '--no-install-recommends', name) && has(program));
    }
  }
  return missing();
}

/** The package names of `programs`, for a message to a person. */
export function packagesOf(programs) {
  return [...new Set(programs.map((program) => PACKAGES[program][0]))];
}

/** First line of `program --version`. */
export function versionOf(program) {
  return execFileSync(program, ['--version'], { encoding: 'utf8' }).split('\n')[0];
}
