export function needsOf(file: string): { libraries: string[]; glibc: [number, number] | null };
export function prebuiltIn(root: string): string;
export function prebuild(): string;
