// Mounts a device as a file.

import { type Device, keepResizing } from '../block/device.js';
import { MountedFile } from '../exports/fuse/mounted-file.js';
import { FuseSession } from '../exports/fuse/session.js';
import type { FuseMountRequest } from '../host/fuse.js';
import type { Host } from '../host/host.js';
import { bestEffort } from '../util/best-effort.js';
import type { BlockError } from '../util/errors.js';

/** What mount(8) shows as the source of a file that stands for a node of a daemon. */
export const MOUNT_SOURCE = '/dev/fuse';

export interface MountRequest extends FuseMountRequest {
  /** Programs may write, and truncate as long as nobody else forbids to change the size. */
  writable: boolean;
  /** Writes beyond the end make the image longer: until the end of the mount, nobody else forbids to change the size. */
  growable: boolean;
  /** Each change is on the disk when it is answered. */
  writethrough: boolean;
}

/**
 * Mounts `device`, which stays open. `onEnd` is called once when the file is mounted no longer and nothing is under way: with an error where the system has
 * failed. Rejects as `Fuse.mount`, and with `permission` and `limit`.
 */
export async function mountDevice(
  host: Host,
  device: Device,
  request: MountRequest,
  onEnd: (error: BlockError | null) => void,
): Promise<FuseSession> {
  const { writable, growable, writethrough } = request;
  const release = writable && growable ? keepResizing(device) : () => undefined;
  try {
    const channel = await host.fuse.mount(request);
    const { allowsOther } = channel;
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    const file = new MountedFile(device, { writable, growable, writethrough, allowsOther, uid, gid });
    try {
      return new FuseSession(host, channel, file, (error) => {
        release();
        onEnd(error);
      });
    } catch (error) {
      // The file that is left would answer with ENOTCONN; why there is no session matters more.
      await channel.unmount().catch(bestEffort('fuse export'));
      channel.close();
      throw error;
    }
  } catch (error) {
    release();
    throw error;
  }
}
