// An image that the format's own tool has made, compressed with gzip.

/** `create_compressed_fs -B 65536` of cloop-utils 3.14 made it of 1 MiB: 20,000 bytes of 1 at the begin, and 200,700 of 2 at 300,000. */
export const CREATE_COMPRESSED_FS =
  'H4sIAAAAAAACA1NW1E/KzNMvzuBSDjPSM1Bwyy/KTSzhys1PKSjKT0pVSM7Jzy9QSMvMSbVVMVBQU1PIzS/NK1HQLVLQLVHILM63NDMzUNBPSS3Th6hUMeRKrcgsUVCx52' +
  'IgCjCCSQEoB0ZnQum9EJpJEEqnQun9EJpZBEpD1TMfhtAs4lA6G0pD1bMKQ+l0KL0bQrPxQ+nkiltvDxoC3cTDtODm/i9JLxhVsLhZx4KBeNCwid0t3U8RZDAjyLMNE/6t' +
  'f8fBxUAZyGLgZ2AcSmZu5AUFqsLj/+6/XaarOTARo7leFLechbFs4g1HsGs5Qa5VePH/Rd8KVgqda8rwn0GeZoYagsKAecHSf67nXS8zexCrP+EyI3aJUP5zGu4nRnrKGj' +
  'VzcJsJAErwmgtjBgAA';
