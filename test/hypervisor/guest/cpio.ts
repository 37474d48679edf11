// An initramfs: a cpio archive ("newc") made in memory. Each entry is a header of hexadecimal digits, the name, the content, each padded
// to 4 bytes.

const DIRECTORY = 0o040755;
const EXECUTABLE = 0o100755;

/** Files by path (`bin/sh`), with the folders above them. */
export function cpioArchive(files: ReadonlyMap<string, Uint8Array>): Buffer {
  const parts: Buffer[] = [];
  let inode = 1;
  const entry = (name: string, mode: number, content: Uint8Array): void => {
    const path = Buffer.from(`${name}\0`);
    // inode, mode, uid, gid, links, mtime, size, device (2), of the device (2), length of the name, checksum
    const fields = [inode++, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0];
    const header = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
    parts.push(header, path, padding(header.length + path.length), Buffer.from(content), padding(content.length));
  };
  const folders = new Set<string>();
  for (const [path, content] of files) {
    const names = path.split('/');
    for (let depth = 1; depth < names.length; depth++) {
      const folder = names.slice(0, depth).join('/');
      if (!folders.has(folder)) entry(folder, DIRECTORY, new Uint8Array());
      folders.add(folder);
    }
    entry(path, EXECUTABLE, content);
  }
  entry('TRAILER!!!', 0, new Uint8Array());
  return Buffer.concat(parts);
}

function padding(length: number): Buffer {
  return Buffer.alloc(-length & 3);
}
