// http and https: a file on a server, read by ranges. It cannot be written to.
//
//   node --> ReadCache (what was read a moment ago, and what comes next) --> fetchWhole (pauses, attempts) --> HttpFile (size, version) --> UrlRequests (redirections, secrets)

import type { Graph } from '../../../block/graph.js';
import { checkImageSize } from '../../../block/image-size.js';
import type { NodeOptions } from '../../../block/node/node.js';
import { ProtocolNode } from '../../../block/node/protocol.js';
import type { NodeChange, PreparedReopen } from '../../../block/node/reopening.js';
import type { OpenRequest } from '../../../block/registry.js';
import type { BlockStatus } from '../../../block/types.js';
import type { ZeroScan } from '../../../host/host.js';
import type { HttpClient } from '../../../host/http.js';
import type { BlockdevOptionsCurlHttps } from '../../../schema/generated/types.js';
import { credentials } from '../../../util/basic-auth.js';
import { bestEffort } from '../../../util/best-effort.js';
import { BlockError } from '../../../util/errors.js';
import { roundUp, SECTOR_BYTES } from '../../../util/numbers.js';
import { fetchWhole } from '../remote/range-source.js';
import { ReadCache } from '../remote/read-cache.js';
import { CONNECTIONS, readaheadBytes, timeoutMs } from './limits.js';
import { type HttpName, type HttpOptions, nameOf } from './name.js';
import { HttpFile } from './remote-file.js';
import { UrlRequests } from './requests.js';

class HttpNode extends ProtocolNode {
  override readonly driver: HttpName;
  override readonly filename: string;
  readonly #client: HttpClient;
  readonly #size: number;
  readonly #cache: ReadCache;
  /** Ends the requests that are under way. */
  #requests: AbortController;

  constructor(
    graph: Graph,
    options: NodeOptions,
    name: HttpName,
    filename: string,
    client: HttpClient,
    file: HttpFile,
    readahead: number,
    requests: AbortController,
  ) {
    super(graph, options);
    this.driver = name;
    this.filename = filename;
    this.#client = client;
    this.#size = file.size;
    this.#requests = requests;
    // The node has whole sectors; the part of the last one that the file does not have reads as zeroes.
    this.length = roundUp(file.size, SECTOR_BYTES);
    const pauses = pausesOf(graph);
    this.#cache = new ReadCache(file.size, readahead, (offset, length, take) =>
      fetchWhole(file, offset, length, take, this.#requests.signal, pauses),
    );
  }

  override async storageId(): Promise<string> {
    return this.filename;
  }

  /** What the server needs for it, nobody says. */
  override async allocatedBytes(): Promise<null> {
    return null;
  }

  override get fixedSize(): boolean {
    return true;
  }

  protected override async doRead(offset: number, buffer: Uint8Array, scan?: ZeroScan): Promise<void> {
    const inFile = Math.max(0, Math.min(buffer.length, this.#size - offset));
    buffer.fill(0, inFile);
    if (inFile > 0) await this.#cache.read(offset, buffer.subarray(0, inFile));
    if (scan !== undefined) this.host.memory.zeroMap(buffer, scan.granule, scan.map);
  }

  override blockStatusSync(offset: number, length: number): BlockStatus {
    const isData = offset < this.#size;
    return {
      length,
      allocated: true,
      data: isData,
      zero: !isData,
      compressed: false,
      offset: isData ? offset : -1,
      node: isData ? this : null,
    };
  }

  protected override async doBlockStatus(offset: number, length: number): Promise<BlockStatus> {
    return this.blockStatusSync(offset, length);
  }

  override async prepareReopen({ readOnly }: NodeChange): Promise<PreparedReopen | null> {
    if (readOnly === false) throw noWrites(this.filename);
    return null;
  }

  protected override doCancelRequests(): void {
    this.#requests.abort();
    this.#requests = new AbortController();
  }

  protected override async doClose(): Promise<void> {
    this.#requests.abort();
    await this.#client.close();
  }
}

function noWrites(path: string): BlockError {
  return BlockError.at(path, 'read-only', 'curl driver does not support writes', { operation: 'open' });
}

function pausesOf({ host }: Graph) {
  return { clock: host.clock, random: () => host.random() };
}

/** Throws `invalid-argument` for a secret that is no text. */
function cookieOf(graph: Graph, url: string, secret: string | undefined): string | null {
  if (secret === undefined) return null;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(graph.objects.secret(secret));
  } catch (cause) {
    if (cause instanceof BlockError) throw cause;
    const why = `The cookies in secret '${secret}' are not UTF-8`;
    throw new BlockError('invalid-argument', why, { path: url, cause });
  }
}

function credentialsOf(graph: Graph, user: string | undefined, secret: string | undefined): Uint8Array | null {
  if (user === undefined && secret === undefined) return null;
  return credentials(user ?? '', secret === undefined ? new Uint8Array() : graph.objects.secret(secret));
}

export async function openHttp<D extends HttpName>(
  name: D,
  { graph, node, options, autoReadOnly }: OpenRequest<D>,
): Promise<HttpNode> {
  const own = options as BlockdevOptionsCurlHttps;
  const { url, cookie } = own;
  if (!url.startsWith(`${name}://`)) {
    const why = `${name} curl driver cannot handle the URL '${url}' (does not start with '${name}://')`;
    throw new BlockError('invalid-argument', why, { path: url });
  }
  if (cookie !== undefined && own['cookie-secret'] !== undefined) {
    throw new BlockError('invalid-argument', 'curl driver cannot handle both cookie and cookie secret', { path: url });
  }
  const readahead = readaheadBytes(own.readahead);
  const filename = nameOf(name, options as HttpOptions);
  if (!node.readOnly && !autoReadOnly) throw noWrites(filename);
  const client = graph.host.http.open({
    connections: CONNECTIONS,
    timeoutMs: timeoutMs(own.timeout),
    verify: own.sslverify ?? true,
    proxyCredentials: credentialsOf(graph, own['proxy-username'], own['proxy-password-secret']),
  });
  try {
    const urlRequests = new UrlRequests(client, url, {
      credentials: credentialsOf(graph, own.username, own['password-secret']),
      cookie: cookie ?? cookieOf(graph, url, own['cookie-secret']),
    });
    const requests = new AbortController();
    const force = own['force-range'] ?? false;
    const file = await HttpFile.open(url, urlRequests, force, requests.signal, pausesOf(graph));
    checkImageSize(roundUp(file.size, SECTOR_BYTES), filename, 'open');
    return new HttpNode(graph, { ...node, readOnly: true }, name, filename, client, file, readahead, requests);
  } catch (error) {
    await client.close().catch(bestEffort('closing the connections to a server'));
    throw error;
  }
}
