// Debian packages in a folder of our own: fetched with apt-get, unpacked with dpkg-deb, nothing installed. Needs no rights.
//
// What was unpacked stays in node_modules/.cache, by name and version, so that the network is asked once.

import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/diskwright-guest', import.meta.url));

/** Package lists of our own, for where the system has none and we may not fetch them, and for other machines (`i386`). */
function ownLists(architecture: string | null): string[] {
  const home = join(CACHE, architecture === null ? 'apt' : `apt-${architecture}`);
  const lists = join(home, 'lists');
  for (const folder of [lists, join(home, 'archives')]) mkdirSync(join(folder, 'partial'), { recursive: true });
  const foreign =
    architecture === null
      ? []
      : [`APT::Architecture=${architecture}`, `APT::Architectures=${architecture}`, 'Dir::State::status=/dev/null'];
  return [
    ...['-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache=${home}`],
    ...['-o', 'Debug::NoLocking=1', '-o', 'APT::Sandbox::User='],
    ...foreign.flatMap((option) => ['-o', option]),
  ];
}

/** The package that a meta package stands for: its first dependency whose name begins with `prefix`. */
function dependencyOf(meta: string, prefix: string, options: readonly string[]): string | null {
  const { stdout } = spawnSync('apt-cache', [...options, 'depends', meta], { encoding: 'utf8' });
  return stdout?.match(new RegExp(`Depends: (${prefix}\\S+)`))?.[1] ?? null;
}

function download(name: string, options: readonly string[], folder: string): string | null {
  spawnSync('apt-get', ['-q', '-o', 'APT::Sandbox::User=', ...options, 'download', name], {
    cwd: folder,
    stdio: 'ignore',
  });
  return readdirSync(folder).find((file) => file.endsWith('.deb')) ?? null;
}

/**
 * The folder of an unpacked package. `meta` is fetched itself, or where `prefix` is given, what it depends on; for this machine, or for
 * `architecture`. Null where there is none (another distribution, no network).
 */
export function unpacked(meta: string, prefix?: string, architecture: string | null = null): string | null {
  mkdirSync(CACHE, { recursive: true });
  const label = architecture === null ? meta : `${meta}:${architecture}`;
  const known = readdirSync(CACHE)
    .filter((name) => name.startsWith(`${label}=`))
    .sort();
  if (known.length > 0) return join(CACHE, known[known.length - 1]);
  const folder = mkdtempSync(join(CACHE, 'new-'));
  try {
    let archive: string | null = null;
    for (const own of architecture === null ? [false, true] : [true]) {
      const options = own ? ownLists(architecture) : [];
      if (own) spawnSync('apt-get', ['-q', ...options, 'update'], { stdio: 'ignore' });
      const name = prefix === undefined ? meta : dependencyOf(meta, prefix, options);
      archive = name === null ? null : download(name, options, folder);
      if (archive !== null) break;
    }
    if (archive === null) return null;
    execFileSync('dpkg-deb', ['-x', archive, 'root'], { cwd: folder });
    rmSync(join(folder, archive));
    writeFileSync(join(folder, 'package'), archive);
    const place = join(CACHE, `${label}=${archive.split('_').slice(0, 2).join('_')}`);
    // Somebody else may have been faster.
    if (!existsSync(place)) renameSync(folder, place);
    return place;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
