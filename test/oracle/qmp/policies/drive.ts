// The script of one case of a job that opens its target by name, on a drive of a machine: each case has one of its own.

import { writeFileSync } from 'node:fs';
import type { Setup, Step } from '../runner.js';
import { command } from '../runner.js';
import { courseOf } from './script.js';
import { type Case, ERRORS } from './table.js';

const SIZE = 1 << 20;

export const filesFor =
  (cases: number): Setup['files'] =>
  (_, folder) => {
    for (let i = 0; i < cases; i++) {
      writeFileSync(`${folder}/source-${i}`, Buffer.alloc(SIZE, 1));
      writeFileSync(`${folder}/target-${i}`, Buffer.alloc(SIZE));
    }
    for (const [name, errno] of Object.entries(ERRORS))
      writeFileSync(`${folder}/${name}`, `[inject-error]\nevent = "write_aio"\nonce = "on"\nerrno = "${errno}"\n`);
  };

export const driveOf = ({ fault, error }: Case, serial: number): string[] => {
  const bytes = (at: string) => `${at}driver=file,${at}filename=DIR/source-${serial}`;
  const rule = 'file.inject-error.0.';
  const faulty = [
    `file.driver=blkdebug,${bytes('file.image.')}`,
    `${rule}event=read_aio,${rule}once=on,${rule}errno=${ERRORS[error]}`,
  ];
  const file = fault === 'source' ? faulty : [bytes('file.')];
  return ['--drive', [`if=none,id=d${serial},node-name=n${serial},driver=raw`, ...file].join(',')];
};

export function scriptOf(given: Case, serial: number): Step[] {
  const { kind, policy, fault, error } = given;
  return [
    command(kind.command, {
      'job-id': 'j',
      'auto-dismiss': false,
      ...kind.words,
      device: `d${serial}`,
      target: fault === 'target' ? `blkdebug:DIR/${error}:DIR/target-${serial}` : `DIR/target-${serial}`,
      ...(policy !== null && { [`on-${fault}-error`]: policy }),
    }),
    ...courseOf(given, serial),
  ];
}
