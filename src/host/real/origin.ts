// The origin of an open file: its real path and the kind of its file system, both found out from the descriptor.
import { readlink, realpath, statfs } from 'node:fs';
import { promisify } from 'node:util';
import { decodeName, encodeName } from '../../util/name-bytes.js';
import { nodeError } from '../errno.js';
import type { FileOrigin } from '../host.js';

const readlinkOf = promisify(readlink) as unknown as (path: string, encoding: 'buffer') => Promise<Buffer>;
const realPathOf = promisify(realpath.native) as unknown as (path: Buffer, encoding: 'buffer') => Promise<Buffer>;
const statfsOf = promisify(statfs) as unknown as (path: string) => Promise<{ type: number }>;

/** Magic numbers of file systems of the kernel, which have no stored data (statfs(2), linux/magic.h). */
const KERNEL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0x9fa0, // proc
  0x62656572, // sysfs
  0x64626720, // debugfs
  0x74726163, // tracefs
  0x73636673, // securityfs
  0x27e0eb, // cgroup
  0x63677270, // cgroup2
  0xcafe4a11, // bpf
  0x6165676c, // pstore
  0x62656570, // configfs
  0xde5e81e4, // efivarfs
  0xf97cff8c, // selinuxfs
  0x43415d53, // smackfs
  0x42494e4d, // binfmt_misc
  0x65735543, // fusectl
  0x1cd1, // devpts
  0x19800202, // mqueue
  0x6e736673, // nsfs
  0x09041934, // anonymous inodes
]);

/** `path` is the name by which the file was opened; it is used where there is no /proc. */
export async function originOfDescriptor(fd: number, path: string): Promise<FileOrigin> {
  const link = `/proc/self/fd/${fd}`;
  try {
    const { type } = await statfsOf(link);
    const real = await readlinkOf(link, 'buffer');
    // `type` may be negative: its 32 bits are compared as an unsigned number.
    return { path: decodeName(real), ordinary: !KERNEL_FILE_SYSTEMS.has(type >>> 0) };
  } catch (error) {
    const failure = nodeError(error, { operation: 'origin', path });
    if (failure.code !== 'not-found') throw failure;
    // There is no /proc, so no image can name a file in it either.
    return { path: decodeName(await realPathOf(encodeName(path), 'buffer')), ordinary: true };
  }
}
