// A guest uses a folder of the host as its disk (vvfat): Linux mounts the file system, reads what the folder holds, changes it, and the folder is what the guest left.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import type { Agent } from './guest/agent.js';
import { Lab, requireGuest, SEED } from './guest/lab.js';

/** Path -> `dir`, or size, time in seconds since 1970 and sum of the content. */
type Listing = Record<string, string>;

/** FAT keeps times to two seconds. */
const fatTime = (seconds: number): number => seconds - (seconds % 2);

function listFolder(folder: string): Listing {
  const found: Listing = {};
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = statSync(path);
    const sum = () => createHash('md5').update(readFileSync(path)).digest('hex');
    found[path.slice(folder.length + 1)] = entry.isDirectory()
      ? 'dir'
      : `${size} ${fatTime(Math.floor(mtimeMs / 1000))} ${sum()}`;
  }
  return found;
}

async function listInGuest(agent: Agent): Promise<Listing> {
  const found: Listing = {};
  const list = async (command: string): Promise<string[]> => {
    const text = await agent.run(`cd /mnt && ${command}`);
    return text === '' ? [] : text.split('\n');
  };
  for (const path of await list('find . -mindepth 1 -type d')) found[path.slice(2)] = 'dir';
  const sums = new Map<string, string>();
  for (const line of await list('find . -type f -exec md5sum {} +')) sums.set(line.slice(34), line.slice(0, 32));
  for (const line of await list("find . -type f -exec stat -c '%s %Y %n' {} +")) {
    const [, size, time, path] = /^(\d+) (\d+) (.*)$/.exec(line)!;
    found[path.slice(2)] = `${size} ${time} ${sums.get(path)}`;
  }
  return found;
}

const NAMES = [
  'PLAIN.TXT',
  'lower.txt',
  'A long name with spaces, and a dot.at.the.end.text',
  'Grüße aus 東京.txt',
  'noext',
  `${'n'.repeat(110)}.bin`,
];

/** A folder with files of many sizes, some of them in folders. */
function fill(folder: string, random: Random): void {
  for (const [depth, sub] of ['', 'sub', 'sub/Deeper folder', 'empty'].entries()) {
    mkdirSync(join(folder, sub), { recursive: true });
    if (sub === 'empty') continue;
    for (const [i, name] of NAMES.entries()) {
      const path = join(folder, sub, name);
      const size = random.pick([0, 1, 511, 512, 4096, random.between(1, 100_000), random.between(1, 700_000)]);
      writeFileSync(path, Buffer.alloc(size, `${depth} ${i} ${name} `));
      const time = 1_700_000_000 + random.below(50_000_000);
      utimesSync(path, time, time);
    }
  }
}

const CHANGES = [
  'cp PLAIN.TXT copied.txt',
  'cp -r sub "a copy of sub"',
  'mv lower.txt "Renamed, and longer than before.txt"',
  'mv sub/noext moved',
  'mv "sub/Deeper folder" Elsewhere',
  'rm "Elsewhere/PLAIN.TXT"',
  'rm -r empty',
  'mkdir -p made/in/depth',
  'dd if=/dev/urandom of=made/in/depth/random.bin bs=1000 count=777',
  'dd if=/dev/urandom of=noext bs=1 count=100 seek=300 conv=notrunc',
  'echo appended >> sub/PLAIN.TXT',
  'truncate -s 1234 sub/lower.txt',
  'for i in $(seq 1 150); do echo $i > "made/file number $i"; done',
  'rm made/file\\ number\\ ?5',
];

describe('a guest whose disk is a folder', function () {
  this.timeout(300_000);
  let lab: Lab;

  before(function () {
    requireGuest(this);
  });
  afterEach(async () => {
    await lab?.close();
  });

  for (const kind of ['fat:rw', 'fat:rw:32', 'fat:rw:12']) {
    it(`${kind}: the guest sees what is in it; the folder becomes what the guest made of it`, async () => {
      lab = await Lab.create();
      const folder = lab.path('folder');
      mkdirSync(folder);
      fill(folder, new Random(SEED, 20));
      await lab.serve('root');
      const disk = await lab.workspace.open(`${kind}:${folder}`, { format: 'raw' });
      const socket = lab.path('folder.socket');
      const service = await lab.workspace.serve(disk, { path: socket, name: 'folder' });
      const machine = await lab.boot([lab.disk('root'), { socket, name: 'folder' }]);
      const { agent } = machine;
      const offset = -new Date().getTimezoneOffset();
      const mount = `mount -t vfat -o utf8,time_offset=${offset} /dev/vdb1 /mnt`;
      await agent.run(`mkdir -p /mnt && ${mount}`);
      expect(await listInGuest(agent)).to.deep.equal(listFolder(folder));

      for (const change of CHANGES) await agent.run(`cd /mnt && ${change}`);
      await agent.run('umount /mnt && sync');
      await agent.run(mount);
      const left = await listInGuest(agent);
      await agent.run('umount /mnt && sync');
      await machine.powerOff();
      await service.close();
      await disk.close();
      expect(listFolder(folder)).to.deep.equal(left);
    });
  }
});
