// Requests over HTTP by undici, which is loaded when the first image is opened over it.

import { existsSync, readFileSync } from 'node:fs';
import type { Agent, Dispatcher, ProxyAgent } from 'undici';
import { cancelledError } from '../../util/abort.js';
import { basic } from '../../util/basic-auth.js';
import { BlockError, toBlockError } from '../../util/errors.js';
import type { Http, HttpClient, HttpReceiver, HttpRequest, HttpSettings } from '../http.js';
import { loadOptional } from './binding.js';
import { nodeTls } from './tls-context.js';

/** Where Debian, and most others, keep the certificates that the system trusts; SSL_CERT_FILE names another file. */
const SYSTEM_CERTIFICATES = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt'];
/** What OpenSSL says of a certificate that it does not take begins so, or is one of these. */
const CERTIFICATE_ERROR = /^(ERR_TLS_|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_SSL_)/;

export class RealHttp implements Http {
  open(settings: HttpSettings): HttpClient {
    const undici = loadOptional<typeof import('undici')>('undici');
    if (undici !== null) return new UndiciClient(undici, settings);
    throw new BlockError('unsupported', 'The package undici, which images are read with over HTTP, is not installed', {
      operation: 'open',
      hint: 'npm install undici',
    });
  }
}

/** Certificates that are trusted: node's own, and the system's. */
function trusted(): string[] {
  const named = process.env['SSL_CERT_FILE'];
  const path = named || SYSTEM_CERTIFICATES.find((file) => existsSync(file));
  return [...nodeTls().rootCertificates, ...(path === undefined ? [] : [readFileSync(path, 'utf8')])];
}

/** The proxy for a URL, by the variables that curl reads, too; null: none. A host is left out by its name, or as one below a domain. */
function proxyFor(url: URL): string | null {
  const of = (name: string) => process.env[name] || process.env[name.toUpperCase()];
  // An upper case HTTP_PROXY comes from a header where a program runs as CGI: as curl, it is not read.
  const proxy = (url.protocol === 'https:' ? of('https_proxy') : process.env['http_proxy']) || of('all_proxy');
  if (!proxy) return null;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const leftOut = (of('no_proxy') ?? '').split(/[\s,]+/).some((one) => {
    const name = one.replace(/^\./, '');
    return one === '*' || (name !== '' && (host === name || host.endsWith(`.${name}`)));
  });
  if (leftOut) return null;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

class UndiciClient implements HttpClient {
  readonly #undici: typeof import('undici');
  readonly #settings: HttpSettings;
  /** One for each proxy, and one without. Made when it is used. */
  readonly #agents = new Map<string | null, Agent>();

  constructor(undici: typeof import('undici'), settings: HttpSettings) {
    this.#undici = undici;
    this.#settings = settings;
  }

  request({ method, url, headers, signal }: HttpRequest, receiver: HttpReceiver): Promise<void> {
    const target = new URL(url);
    const agent = this.#agentFor(target);
    const { timeoutMs } = this.#settings;
    return new Promise<void>((resolve, reject) => {
      if (signal.aborted) return reject(cancelledError(signal.reason));
      let controller: Dispatcher.DispatchController | null = null;
      let thrown: unknown;
      const abort = () => controller?.abort(cancelledError(signal.reason));
      signal.addEventListener('abort', abort);
      const end = (settle: () => void): void => {
        signal.removeEventListener('abort', abort);
        settle();
      };
      /** Calls the receiver; what it throws ends the request. */
      const receive = (call: () => void): void => {
        try {
          call();
        } catch (error) {
          thrown = error;
          controller?.abort(toBlockError(error));
        }
      };
      agent.dispatch(
        {
          origin: target.origin,
          path: `${target.pathname}${target.search}`,
          method,
          headers: { ...headers },
          headersTimeout: timeoutMs,
          bodyTimeout: timeoutMs,
        },
        {
          onRequestStart: (given) => {
            controller = given;
            if (signal.aborted) given.abort(cancelledError(signal.reason));
          },
          onResponseStart: (_, status, answer) => {
            if (status < 200) return;
            receive(() => receiver.head(status, (name) => textOf(answer[name])));
          },
          onResponseData: (_, bytes) => {
            if (thrown === undefined && bytes.length > 0) receive(() => receiver.data(bytes));
          },
          onResponseEnd: () => end(resolve),
          onResponseError: (_, error) => end(() => reject(thrown ?? errorOf(error, url))),
        },
      );
    });
  }

  #agentFor(url: URL): Agent {
    const proxy = proxyFor(url);
    let agent = this.#agents.get(proxy);
    if (agent === undefined) {
      agent = this.#makeAgent(proxy);
      this.#agents.set(proxy, agent);
    }
    return agent;
  }

  #makeAgent(proxy: string | null): Agent {
    const { connections, timeoutMs, verify, proxyCredentials } = this.#settings;
    const tls = { ca: verify ? trusted() : undefined, rejectUnauthorized: verify };
    // A server without an answer is seen by its timeouts; a pool retries nothing by itself.
    const options: Agent.Options = { connections, pipelining: 1, connect: { ...tls, timeout: timeoutMs } };
    if (proxy === null) return new this.#undici.Agent(options);
    const token = proxyCredentials === null ? {} : { token: basic(proxyCredentials) };
    // As curl: of the proxy, a plain request is asked for as it is, and a tunnel for one with TLS.
    const through = { uri: proxy, proxyTunnel: false, requestTls: options.connect, connections, ...token };
    return new this.#undici.ProxyAgent(through as ProxyAgent.Options) as unknown as Agent;
  }

  async close(): Promise<void> {
    const agents = [...this.#agents.values()];
    this.#agents.clear();
    await Promise.all(agents.map((agent) => agent.destroy()));
  }
}

function textOf(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value.join(', ') : value;
}

/** An error of undici, or of node's sockets, in words that name the server. */
function errorOf(error: Error & { code?: string }, url: string): BlockError {
  if (error instanceof BlockError) return error;
  const { host } = new URL(url);
  const { code = '', message } = error;
  if (CERTIFICATE_ERROR.test(code)) {
    return new BlockError('permission', `the certificate of ${host} is not valid: ${message}`, { cause: error });
  }
  if (code === 'UND_ERR_INVALID_ARG') {
    return new BlockError('invalid-argument', `no request can be made for ${host}: ${message}`, { cause: error });
  }
  const isTimeout = code.startsWith('UND_ERR_') && code.endsWith('_TIMEOUT');
  const why = isTimeout ? `${host} has not answered in time` : `the connection to ${host} failed: ${message || code}`;
  return new BlockError('io', why, { errno: isTimeout ? 'ETIMEDOUT' : systemError(code), cause: error });
}

function systemError(code: string): string | undefined {
  return /^E[A-Z]+$/.test(code) ? code : undefined;
}
