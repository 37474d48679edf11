// Which proxy a request goes through: the variables that curl reads, too.

import { credentialsOfUrl } from '../../../util/basic-auth.js';
import { BlockError } from '../../../util/errors.js';
import { isLeftOut } from './no-proxy.js';

export interface HttpProxy {
  /** Scheme, host and port. */
  origin: string;
  /** `name:password` of its URL; null: there are none. */
  credentials: Uint8Array | null;
}

/** As curl's, where a URL does not say it. */
const PORTS: Readonly<Record<string, number>> = { 'http:': 1080, 'https:': 443 };

/** The proxy for `url`; null: none. Throws `invalid-argument` and `unsupported`, with the name of the variable, and without its value: that may hold a password. */
export function proxyFor(url: URL, environment: NodeJS.ProcessEnv): HttpProxy | null {
  const isTls = url.protocol === 'https:';
  // An upper case HTTP_PROXY comes from a header where a program runs as CGI: as curl, it is not read.
  const names = [...(isTls ? ['https_proxy', 'HTTPS_PROXY'] : ['http_proxy']), 'all_proxy', 'ALL_PROXY'];
  const name = names.find((name) => environment[name]);
  if (name === undefined) return null;
  const leftOut = environment['no_proxy'] || environment['NO_PROXY'] || '';
  return isLeftOut(leftOut, url.hostname) ? null : parse(name, environment[name]!);
}

function parse(variable: string, value: string): HttpProxy {
  const [, scheme = 'http', rest] = /^(?:([^:/?#]*):\/\/)?(.*)$/s.exec(value)!;
  const protocol = `${scheme.toLowerCase()}:`;
  if (PORTS[protocol] === undefined) {
    const why = `Unsupported proxy scheme '${scheme}' in the variable ${variable}`;
    throw new BlockError('unsupported', why, { operation: 'open', hint: 'A proxy is one of http:// or https://' });
  }
  try {
    const url = new URL(`${protocol}//${rest}`);
    // The port that a URL has by itself is not shown, even where it is written: it is asked of a scheme that has none.
    const { port } = new URL(`proxy://${rest}`);
    url.port = port || String(PORTS[protocol]);
    return { origin: url.origin, credentials: credentialsOfUrl(url) };
  } catch (cause) {
    throw new BlockError('invalid-argument', `Unsupported proxy syntax in the variable ${variable}`, {
      operation: 'open',
      cause,
    });
  }
}
