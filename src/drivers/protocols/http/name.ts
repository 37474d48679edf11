// The name of a file on a server: its URL, or its options in JSON where a URL cannot express them.

import type { BlockdevOptions, BlockdevOptionsCurlHttps } from '../../../schema/generated/types.js';
import { formatJsonFilename } from '../../../schema/options.js';

export type HttpName = 'http' | 'https';
export type HttpOptions = Extract<BlockdevOptions, { driver: HttpName }>;

/** What has no place in a URL, and changes what the server answers. */
const STRONG = [
  ...['username', 'password-secret', 'proxy-username', 'proxy-password-secret'],
  ...['cookie', 'cookie-secret', 'sslverify'],
] as const satisfies readonly (keyof BlockdevOptionsCurlHttps)[];

/** The name that opens the file again. */
export function nameOf(driver: HttpName, options: HttpOptions): string {
  const given = options as BlockdevOptionsCurlHttps;
  const strong = STRONG.filter((key) => given[key] !== undefined);
  if (strong.length === 0) return given.url;
  return formatJsonFilename({ driver, url: given.url, ...Object.fromEntries(strong.map((key) => [key, given[key]])) });
}
