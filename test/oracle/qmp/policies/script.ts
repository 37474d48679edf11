// The script of one case: a chain of three images and a target, of which one fails once; a job; and where it stops, that it goes on.
//
//   base <- mid <- top        Each has data of its own. A stream writes into top and reads from mid, a commit writes into base and reads from mid, an
//   target                    active commit reads from top, a copy reads from top and writes to the target.

import { copyFileSync } from 'node:fs';
import type { Json } from '../../../support/qmp.js';
import { command, type Setup, type Step, until, untilStatus } from '../runner.js';
import { type Case, ERRORS, stops } from './table.js';

const SIZE = 1 << 20;

/** Images of case `serial` end in it. */
export const filesFor =
  (cases: number): Setup['files'] =>
  (shop, folder) => {
    const make = (...words: string[]) => shop.must('qemu-img', 'create', '-q', ...words);
    const write = (format: string, file: string, what: string) =>
      shop.must('qemu-io', '-f', format, '-c', `write ${what}`, file);
    make('-f', 'raw', `${folder}/base`, String(SIZE));
    write('raw', `${folder}/base`, `-P 1 0 ${SIZE}`);
    for (const [name, what] of [
      ['mid', '-P 2 0 512k'],
      ['top', '-P 3 0 256k'],
    ]) {
      make('-f', 'qcow2', `${folder}/${name}`, String(SIZE));
      write('qcow2', `${folder}/${name}`, what);
    }
    make('-f', 'raw', `${folder}/target`, String(SIZE));
    for (let i = 0; i < cases; i++)
      for (const name of ['base', 'mid', 'top', 'target']) copyFileSync(`${folder}/${name}`, `${folder}/${name}-${i}`);
  };

const READS = { stream: 'mid', commit: 'mid' } as Record<string, string>;
const WRITES = { stream: 'top', commit: 'base', 'active commit': 'base' } as Record<string, string>;
/** What `kind` reads from, or writes to. */
const faultyOf = ({ kind: { name }, fault }: Case): string =>
  fault === 'source' ? (READS[name] ?? 'top') : (WRITES[name] ?? 'target');

/** Data of the image, not its tables: those lie in other places. */
function faultyImage({ fault, error }: Case, filename: string): Json {
  const event = fault === 'source' ? 'read_aio' : 'write_aio';
  return {
    driver: 'blkdebug',
    image: { driver: 'file', filename },
    'inject-error': [{ event, once: true, errno: ERRORS[error] }],
  };
}

const STATE: Step[] = [command('query-jobs'), command('query-block-jobs')];

export function scriptOf(given: Case, serial: number): Step[] {
  const { kind, policy, fault } = given;
  const add = (name: string, driver: string, more: Json = {}): Step => {
    const filename = `DIR/${name}-${serial}`;
    const file = faultyOf(given) === name ? faultyImage(given, filename) : { driver: 'file', filename };
    return command('blockdev-add', { driver, 'node-name': name, file, ...more });
  };
  const which = kind.onePolicy ? 'on-error' : `on-${fault}-error`;
  const words = { 'job-id': 'j', 'auto-dismiss': false, ...kind.words, ...(policy !== null && { [which]: policy }) };
  return [
    add('base', 'raw'),
    add('mid', 'qcow2', { backing: 'base' }),
    add('top', 'qcow2', { backing: 'mid' }),
    add('target', 'raw'),
    command(kind.command, words),
    ...courseOf(given, serial),
    ...['top', 'mid', 'target', 'base'].map((name) => command('blockdev-del', { 'node-name': name })),
  ];
}

/** From the job's start to its end. */
export function courseOf(given: Case, serial: number): Step[] {
  const { kind, policy } = given;
  const paused = [until('BLOCK_JOB_ERROR'), untilStatus('j', 'paused'), ...STATE, ...resumed(serial)];
  const ready = [untilStatus('j', 'ready'), until('BLOCK_JOB_READY'), ...STATE, command('job-complete', { id: 'j' })];
  return [
    ...(stops(given) ? paused : []),
    ...(kind.isMirror && (stops(given) || policy === 'ignore') ? ready : []),
    untilStatus('j', 'concluded'),
    ...STATE,
    command('job-dismiss', { id: 'j' }),
    untilStatus('j', 'null'),
  ];
}

/** By the verbs of either kind. A user's pause is one more than that of the policy. */
function resumed(serial: number): Step[] {
  const pause = command('job-pause', { id: 'j' });
  const resume = command('job-resume', { id: 'j' });
  const blockResume = command('block-job-resume', { device: 'j' });
  switch (serial % 3) {
    case 0:
      return [resume];
    case 1:
      return [blockResume];
    default:
      return [pause, ...STATE, resume, resume];
  }
}
