// An image that `diskwright nbd` serves, with a monitor or without.

import type { NetAddress } from '../../host/net.js';

export interface Serving {
  /** Where the clients come, with the port that was chosen. */
  address: NetAddress;
  /** Ends it; what clients wrote is flushed when the session closes the image. */
  close(): Promise<void>;
}
