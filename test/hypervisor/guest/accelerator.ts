// KVM where a guest really starts with it (a /dev/kvm that opens is not enough), emulation elsewhere.

import { spawnSync } from 'node:child_process';
import type { GuestParts } from './parts.js';

const KVM = ['-accel', 'kvm', '-cpu', 'host'];
const EMULATION = ['-accel', 'tcg', '-cpu', 'max'];
const PROBE_LIMIT_MS = 15_000;

let chosen: string[] | null = null;

/** QEMU's options. DISKWRIGHT_GUEST_ACCEL=kvm|tcg decides where it is set. */
export function accelerator({ kernel, initramfs }: GuestParts): string[] {
  const wish = process.env['DISKWRIGHT_GUEST_ACCEL'];
  if (wish !== undefined) return wish === 'kvm' ? KVM : EMULATION;
  if (chosen === null) {
    const words = ['-M', 'q35', ...KVM, '-m', '128', '-nodefaults', '-display', 'none', '-no-reboot'];
    const { status } = spawnSync(
      'qemu-system-x86_64',
      [...words, '-kernel', kernel, '-initrd', initramfs, '-append', 'probe quiet panic=-1'],
      { stdio: 'ignore', timeout: PROBE_LIMIT_MS, killSignal: 'SIGKILL' },
    );
    chosen = status === 0 ? KVM : EMULATION;
    console.log(`      guests run with ${chosen[1]}`);
  }
  return chosen;
}
