export function packTo(file: string): void;
