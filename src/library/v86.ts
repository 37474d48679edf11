// An image as the disk of the emulator v86.

import { V86Disk, type V86DiskOptions } from '../exports/v86/disk.js';
import { anImage, deviceOf, type Image } from './image.js';

/** `image` as a disk of the emulator v86: `new V86({hda: v86Disk(image)})`. The image stays the caller's to close. Throws `invalid-argument`. */
export function v86Disk(image: Image, options?: V86DiskOptions): V86Disk {
  return new V86Disk(deviceOf(anImage(image, 'image')), options);
}
