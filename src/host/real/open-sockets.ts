// The links, listeners and connection attempts of a host, which are closed with it.
export interface OpenSocket {
  close(): Promise<void>;
}

export class OpenSockets extends Set<OpenSocket> {
  /** Ends all of them. */
  async close(): Promise<void> {
    await Promise.all([...this].map((socket) => socket.close()));
  }
}
