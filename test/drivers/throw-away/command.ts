// A command line that runs in this process, so that it knows the drivers that a test has registered.

import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { main } from '../../../src/cli/main.js';

export interface Ran {
  code: number;
  output: string;
  errors: string;
}

export async function run(...args: string[]): Promise<Ran> {
  const { writeSync } = fs;
  const { write } = process.stderr;
  const isTTY = Object.getOwnPropertyDescriptor(process.stdout, 'isTTY');
  const takeOver = (sync: typeof writeSync, messages: typeof write, tty: PropertyDescriptor | undefined): void => {
    fs.writeSync = sync;
    process.stderr.write = messages;
    syncBuiltinESMExports();
    if (tty === undefined) Reflect.deleteProperty(process.stdout, 'isTTY');
    else Object.defineProperty(process.stdout, 'isTTY', tty);
  };
  const texts = ['', ''];
  const take = (fd: number, bytes: Uint8Array, at = 0): number => {
    if (fd !== 1 && fd !== 2) return writeSync(fd, bytes, at);
    texts[fd - 1] += Buffer.from(bytes.subarray(at));
    return bytes.length - at;
  };
  const say = (text: string | Uint8Array): boolean => {
    texts[1] += typeof text === 'string' ? text : Buffer.from(text);
    return true;
  };
  takeOver(take as typeof writeSync, say as typeof write, { value: false, configurable: true });
  try {
    const code = await main(args);
    return { code, output: texts[0], errors: texts[1] };
  } finally {
    takeOver(writeSync, write, isTTY);
  }
}
