// The gate: what opens the images that another image refers to (its backing file, its data file; later extents). A program can put its own in front.
//
//   header: "../base.qcow2"
//     -> may an image say that at all?       foreign-name.ts: it leads to an image, and says nothing of how that is used
//     -> gate.open(reference, open)          refuses, or opens and looks at what it opened
//          -> open()                         the driver opens the file (by its name, or a descriptor that the gate has), or the connection
//     -> the node                            from here on its bytes are read
//
// A gate decides on what is open, not on a name that may lead elsewhere a moment later: no check can race with an open. What it sees before it
// opens anything is there so that it can refuse what must not even be opened.

import { BlockError } from '../util/errors.js';

/** The image that a name is written in. */
export interface Referrer {
  /** Real path of its file, or what it is called where it is in none. */
  path: string;
  /** What the named image is to it: `backing`, `data-file`. */
  child: string;
}

/** A file or an export that an image refers to. */
export interface ImageReference {
  /** The image that names it: the real path of its file, or a URI. */
  readonly referrer: string;
  /** What it is to that image: `backing`, `data-file`. */
  readonly child: string;
  /** The driver that reaches it: `file`, `host_device`, `nbd`. */
  readonly driver: string;
  /** Where the name leads now: an absolute path, links resolved (the name itself where no file is found there), or a URI. */
  readonly target: string;
  /** What is found there now. */
  readonly kind: 'file' | 'device' | 'export';
  /** Whether it is opened for reading only. */
  readonly readOnly: boolean;
}

/** What was opened. */
export interface OpenedReference {
  /** Of a file, the real path of what is open, whatever the name means by now; otherwise the URI. */
  readonly target: string;
  readonly kind: 'file' | 'device' | 'export';
}

/** How a gate has a reference opened. */
export interface ReferenceSource {
  /**
   * A file descriptor of this process, which is opened in place of the name: of a file or a block device, open for reading, or for reading and
   * writing where the image is to be written. It is duplicated: close yours when you like. The locks of an image belong to what a
   * descriptor has open, so hand each to one image only.
   */
  fd?: number;
}

/** Opens the images that other images refer to. */
export interface OpenGate {
  /**
   * Opens `reference` by calling `open`, and resolves to what that resolved to; nothing was read from it yet. Rejects, with `permission` say,
   * to refuse it: before it calls `open`, or once it sees what was opened, which is then closed. Once it has settled, `open` rejects with
   * `bad-state`. It is called for what images name, never for what the program itself opens. `Workspace.close` waits for it.
   */
  open(
    reference: ImageReference,
    open: (source?: ReferenceSource) => Promise<OpenedReference>,
  ): Promise<OpenedReference>;
}

/** Nothing is opened. */
export const denyGate: OpenGate = {
  async open({ target, referrer }) {
    throw refusal(target, referrer, 'references are not followed');
  },
};

/** Only plain files in the referrer's own folder, no devices, no network. Names of files are absolute paths, links resolved. */
export const sameFolderGate: OpenGate = {
  async open({ referrer, ...reference }, open) {
    refuseOtherFolder(reference, referrer);
    const opened = await open();
    refuseOtherFolder(opened, referrer);
    return opened;
  },
};

function refuseOtherFolder({ kind, target }: OpenedReference, referrer: string): void {
  if (kind === 'device') throw refusal(target, referrer, 'it is a device');
  if (kind === 'export') throw refusal(target, referrer, 'it is no file');
  if (folderOf(target) !== folderOf(referrer)) throw refusal(target, referrer, 'it is in another folder');
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/') + 1);
}

export function refusal(target: string, referrer: string, why: string): BlockError {
  return new BlockError('permission', `'${referrer}' refers to '${target}', which is not opened: ${why}`, {
    path: referrer,
    operation: 'open',
  });
}
