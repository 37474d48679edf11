// One run of a daemon with four disks, each served over NBD and written to by a guest, while random commands come: to a clean end, or to a
// SIGKILL at a random moment. Then every image is checked, and every guest's content is compared with what the guest knows.

import { mkdirSync } from 'node:fs';
import { Random } from '../../src/host/sim/random.js';
import { type Image, open } from '../../src/index.js';
import { Workshop } from '../support/cli.js';
import { type Json, StorageDaemon } from '../support/qmp.js';
import { SoakCommands } from './commands.js';
import { Guest } from './guest.js';
import { checkImages, type Figures, imagesIn, leaks, lookAround, rest } from './rest.js';

const DISKS = ['d0', 'd1', 'd2', 'd3'];
const SIZE = 2 << 20;
/** More jobs than this at a time, or a longer chain, would only make a run slow. */
const MOST_JOBS = 12;
/** Commands from one rest to the next. */
const REST_EVERY = 500;

export interface SoakOptions {
  seed: number;
  commands: number;
  /** Kill the daemon after a random share of the commands. */
  kill: boolean;
}

export interface SoakOutcome {
  commands: number;
  refused: number;
  writes: number;
  /** What the daemon held when it was at rest: before the first command, then each time. */
  rests: Figures[];
  faults: string[];
}

export async function runSoak({ seed, commands, kill }: SoakOptions): Promise<SoakOutcome> {
  const shop = await Workshop.open();
  const random = new Random(seed);
  try {
    return await soak(shop, random, commands, kill ? random.below(commands) : null);
  } finally {
    shop.remove();
  }
}

async function soak(shop: Workshop, random: Random, count: number, killAt: number | null): Promise<SoakOutcome> {
  const folder = shop.path('soak');
  mkdirSync(folder);
  const socket = `${folder}/nbd.sock`;
  const words = ['--nbd-server', `addr.type=unix,addr.path=${socket},max-connections=0`];
  for (const name of DISKS) {
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', `${folder}/${name}.qcow2`, String(SIZE));
    words.push(
      '--blockdev',
      `qcow2,node-name=${name},discard=unmap,file.driver=file,file.filename=${folder}/${name}.qcow2`,
    );
    words.push('--export', `nbd,id=${name},node-name=${name},name=${name},writable=on`);
  }
  const daemon = await StorageDaemon.start(`${folder}/qmp`, words, [process.execPath, shop.bundle, 'daemon']);
  const images: Image[] = [];
  const outcome: SoakOutcome = {
    commands: 0,
    refused: 0,
    writes: 0,
    rests: [],
    faults: [],
  };
  try {
    for (const name of DISKS) images.push(await open(`nbd+unix:///${name}?socket=${socket}`));
    const guests = images.map((image, i) => new Guest(image, new Random(random.next(), i)));
    const running = guests.map((guest, i) =>
      guest.run().catch((error: Error) => outcome.faults.push(`${DISKS[i]}: ${error.message}`)),
    );
    const tops = new Map(DISKS.map((name) => [name, name]));
    const files = new Map(DISKS.map((name) => [name, new Set([`${folder}/${name}.qcow2`])]));
    const source = new SoakCommands(random, folder, tops);
    const endGuests = async () => {
      for (const guest of guests) guest.stop();
      await Promise.all(running);
    };

    const takeRest = async () => {
      outcome.rests.push(await rest({ daemon, shop, folder, tops, files }, outcome.faults));
    };
    await takeRest();
    for (let i = 0; i < (killAt ?? count) && outcome.faults.length === 0; i++) {
      if (i > 0 && i % REST_EVERY === 0) await takeRest();
      await lookAround(daemon, tops, files);
      const command = await chosen(daemon, source);
      const answer = await daemon.ask(command as unknown as Json);
      outcome.commands++;
      if ('error' in answer) outcome.refused++;
    }
    if (killAt === null) {
      await takeRest();
      outcome.faults.push(...leaks(outcome.rests));
      await endGuests();
      for (const [i, guest] of guests.entries()) await compare(outcome, DISKS[i], guest, images[i], false);
      for (const image of images.splice(0)) await image.close();
      await daemon.quit();
    } else {
      for (const guest of guests) guest.stop();
      daemon.kill();
      await daemon.end();
      await Promise.all(running);
      // Their server has gone: closing them fails.
      for (const image of images.splice(0)) await image.close().catch(() => undefined);
    }
    outcome.writes = guests.reduce((sum, { writes }) => sum + writes, 0);
    outcome.faults.push(...checkImages(shop, imagesIn(folder)));
    for (const [i, guest] of guests.entries()) {
      await compareFiles(outcome, DISKS[i], guest, [...(files.get(DISKS[i]) as Set<string>)], killAt !== null);
    }
    return outcome;
  } finally {
    daemon.kill();
  }
}

async function chosen(daemon: StorageDaemon, source: SoakCommands): Promise<ReturnType<SoakCommands['next']>> {
  const jobs = (await daemon.execute('query-jobs')) as Json[];
  const ids = jobs.map(({ id }) => String(id));
  for (;;) {
    const command = source.next(ids);
    const starts = /^(drive-|block-commit|block-stream|transaction)/.test(command.execute);
    if (!starts || jobs.length < MOST_JOBS) return command;
  }
}

async function compare(
  outcome: SoakOutcome,
  name: string,
  guest: Guest,
  image: Image,
  crashed: boolean,
): Promise<void> {
  const wrong = await guest.differences(image, crashed);
  if (wrong.length > 0) outcome.faults.push(`${name} in ${image.filename}: ${wrong.length} blocks, ${wrong[0]}`);
}

/** The disk is in one of its files: the newest one known, or, after a crash, another one that it has been in. */
async function compareFiles(
  outcome: SoakOutcome,
  name: string,
  guest: Guest,
  files: readonly string[],
  crashed: boolean,
): Promise<void> {
  let first: string | null = null;
  for (const file of [...files].reverse()) {
    const image = await open(file, { readOnly: true });
    try {
      const wrong = await guest.differences(image, crashed);
      if (wrong.length === 0) return;
      first ??= `${name} in ${file}: ${wrong.length} blocks, ${wrong[0]}`;
    } finally {
      await image.close();
    }
    if (!crashed) break;
  }
  outcome.faults.push(first ?? `${name}: no file is known`);
}
