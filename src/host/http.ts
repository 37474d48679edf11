// Requests of a client of HTTP. What an answer means is the business of drivers/protocols/http/; here are bytes.
//
//   request(GET, url, headers, receiver) --> receiver.head(status, headers) --> receiver.data(bytes) ... --> resolves

/** What all requests of a client have in common. */
export interface HttpSettings {
  /** Connections to one server at most; they are kept alive. */
  connections: number;
  /** A server that has not answered for so long, be it the connection, the head or the next bytes, is given up. 0: never. */
  timeoutMs: number;
  /** The certificate of a server is verified. */
  verify: boolean;
  /** `name:password` for the proxy that the environment names; null: those of the proxy's URL, if it has any. */
  proxyCredentials: Uint8Array | null;
}

export interface HttpRequest {
  method: 'GET' | 'HEAD';
  /** http or https, without credentials. */
  url: string;
  /** Values have a character for each byte. */
  headers: Readonly<Record<string, string>>;
  /** Ends the request with `cancelled`. */
  signal: AbortSignal;
}

/** Takes an answer. What a method throws ends the request, which rejects with it. */
export interface HttpReceiver {
  /** `header` gives the value of a header by its name in lower case; undefined where the answer has none. */
  head(status: number, header: (name: string) => string | undefined): void;
  /** The bytes are the receiver's during the call only. Not called with none. */
  data(bytes: Uint8Array): void;
}

export interface HttpClient {
  /**
   * Resolves when the whole answer was taken. Rejects with `io` where the server cannot be reached, breaks off or does not answer in time, `permission` for a certificate that
   * is not valid, `cancelled`, and with what the receiver throws. Redirections are not followed.
   */
  request(request: HttpRequest, receiver: HttpReceiver): Promise<void>;
  /** Ends all requests that are under way. */
  close(): Promise<void>;
}

export interface Http {
  /** Throws `unsupported` where the library is not installed. */
  open(settings: HttpSettings): HttpClient;
}
