// Sessions of a page, as a person types them: blocks of the language `console`, in which `$ ` stands before a command and what it prints stands below.
//
//   $ diskwright create -q -f qcow2 \
//       disk.qcow2 1G                  <- a command goes on behind a backslash, or to the end of its here-document
//   $ diskwright snapshot -l disk.qcow2
//   Snapshot list: ...                 <- standard output and standard error, as a terminal shows them
//
// All sessions of a run share one folder and run one after the other. What is never the same twice (times, rates, dates) is compared without it.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import type { Workshop } from './cli.js';

const COMMAND_MS = 60_000;

export interface Typed {
  command: string;
  printed: string;
}

/** The commands of a session, and what is printed below each. */
export function typedIn(session: string): Typed[] {
  const [before, ...parts] = session.split(/^\$ /m);
  if (before !== '') throw new Error(`a session begins with '$ ', not with ${JSON.stringify(before)}`);
  return parts.map((part) => {
    const lines = part.split('\n');
    let length = 1;
    while (lines[length - 1].endsWith('\\')) length++;
    const [, heredoc] = /<<'?(\w+)'?/.exec(lines[0]) ?? [];
    if (heredoc !== undefined) length = lines.indexOf(heredoc) + 1;
    return { command: lines.slice(0, length).join('\n'), printed: lines.slice(length).join('\n') };
  });
}

/**
 * `text` without what is never the same: times and rates of io and bench, dates, process numbers, what a file takes on its file system, how fragmented an image is that several workers have filled
 * (whoever comes first gets the place), and spaces at the ends of lines. No page needs another mark for it.
 */
export function withoutChance(text: string): string {
  return text
    .replace(/(\d ops); .*$/gm, '$1')
    .replace(/\b\d+\.\d{3} seconds/g, 'SECONDS')
    .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, 'DATE')
    .replace(/(\d+) (bytes\/s|[KMG]iB\/s)/g, 'RATE')
    .replace(/\bheld by process .*$/gm, 'PROCESS')
    .replace(/^(disk size:) .*$/gm, '$1 SIZE')
    .replace(/\d+\.\d\d% fragmented/g, 'SHARE fragmented')
    .replace(/[ \t]+$/gm, '')
    .trimEnd();
}

/** The command `diskwright`, on the PATH of what is returned. */
export function shellOf(shop: Workshop): NodeJS.ProcessEnv {
  const commands = shop.path('.bin');
  mkdirSync(commands, { recursive: true });
  const launcher = `#!/bin/sh\nexec "${process.execPath}" "${shop.bundle}" "$@"\n`;
  writeFileSync(join(commands, 'diskwright'), launcher, { mode: 0o755 });
  return { ...process.env, PATH: `${commands}:${process.env['PATH']}` };
}

/** Runs sessions, and expects of each command that it prints what stands below it. Servers that an unfinished session has left behind are ended. */
export function runSessions(shop: Workshop, sessions: readonly string[]): void {
  const env = shellOf(shop);
  try {
    for (const { command, printed } of sessions.flatMap(typedIn)) {
      const { status, stdout } = spawnSync('sh', ['-c', `exec 2>&1\n${command}`], {
        cwd: shop.folder,
        encoding: 'utf8',
        env,
        timeout: COMMAND_MS,
      });
      expect(withoutChance(stdout), command).to.equal(withoutChance(printed));
      if (stdout === '') expect(status, `${command}: the exit code, of which the page says nothing`).to.equal(0);
    }
  } finally {
    endServers(shop);
  }
}

/** Sends SIGTERM to what has left its number in a file `*.pid`. */
function endServers(shop: Workshop): void {
  for (const name of readdirSync(shop.folder)) {
    if (!name.endsWith('.pid')) continue;
    const pid = Number(readFileSync(shop.path(name), 'utf8'));
    try {
      if (pid > 1) process.kill(pid, 'SIGTERM');
    } catch {
      // It has ended already.
    }
  }
}
