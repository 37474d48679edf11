// Switches as text, in options and file names.

/** `on`, `yes`, `true` and `y`, or `off`, `no`, `false` and `n`, as QEMU reads a switch; null: neither. */
export function parseSwitch(text: string): boolean | null {
  if (/^(on|yes|true|y)$/.test(text)) return true;
  return /^(off|no|false|n)$/.test(text) ? false : null;
}
