// What cannot be brought to the folder is not lost with the disk: as the machine sees it, the whole disk becomes a raw image in the folder.

import { pathBelow } from '../../../host/folder.js';
import type { HostFile, HostFolder } from '../../../host/host.js';
import { toBlockError } from '../../../util/errors.js';
import type { Span } from './layout.js';
import type { ReadDisk } from './reader.js';
import type { Scratch } from './scratch.js';
import { createTemporary } from './temporary.js';

const PIECE_BYTES = 64 << 10;
const ZEROES = new Uint8Array(PIECE_BYTES);

export interface KeepRequest {
  folder: HostFolder;
  /** Of the disk. */
  bytes: number;
  scratch: Scratch;
  /** Where the disk holds something of the folder. */
  spans: readonly Span[];
  /** As machines see the disk. */
  read: ReadDisk;
  random: () => number;
}

/** Resolves with sentences that say where the disk is now, and what of it is missing. Never rejects for what the system answers: whatever could be written stays. */
export async function keepImage(request: KeepRequest): Promise<string> {
  const { folder, bytes, random } = request;
  let name: string;
  let file: HostFile;
  try {
    const made = await createTemporary(folder, [], random, '.img');
    name = pathBelow(folder.path, made.path);
    file = made.file;
  } catch (error) {
    return `The disk could not be kept as an image either, and is lost: ${toBlockError(error).message}`;
  }
  let failure: unknown = null;
  const attempt = (action: () => Promise<void>) =>
    action().catch((error: unknown) => {
      failure ??= error;
    });
  await attempt(() => file.truncate(bytes));
  const copy = async (span: Span, held: boolean) => {
    for (const piece of piecesOf(request.scratch, span, held))
      await attempt(() => copyPiece(request, piece, held, file));
  };
  await copy({ start: 0, end: bytes }, true);
  for (const span of request.spans) await copy(span, false);
  await attempt(() => file.flush());
  await attempt(() => file.close());
  await attempt(() => folder.flush([]));
  const kept = `The disk is kept as '${name}', a raw image`;
  return failure === null ? kept : `${kept}, but not whole: ${toBlockError(failure).message}`;
}

/**
 * What the machine has written comes first, and its place in the scratch file is freed as it goes, so that the image needs no more of a full disk than that did.
 * What comes from the folder may have been changed by others: it is missing then.
 */
async function copyPiece(
  { scratch, read }: KeepRequest,
  { start, end }: Span,
  held: boolean,
  file: HostFile,
): Promise<void> {
  const piece = new Uint8Array(end - start);
  await read(start, piece);
  if (Buffer.compare(piece, ZEROES.subarray(0, piece.length)) !== 0) await file.write(start, piece);
  if (held) await scratch.drop(start, piece.length);
}

/** The parts of the span that are in the scratch file, or those that are not, in pieces. */
function* piecesOf(scratch: Scratch, span: Span, held: boolean): Iterable<Span> {
  for (let at = span.start; at < span.end; ) {
    const run = scratch.runAt(at, span.end);
    const end = run.held === held ? Math.min(run.end, at + PIECE_BYTES) : run.end;
    if (run.held === held) yield { start: at, end };
    at = end;
  }
}
