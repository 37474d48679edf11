// Errors of undici, and of node's sockets, in words that name the server.

import { BlockError } from '../../../util/errors.js';
import { errnoOf, errnoWords } from '../net-errors.js';

type LibraryError = Error & { code?: string; reason?: string };

/** What node says of a certificate that it does not take begins so. */
const CERTIFICATE_ERROR =
  /^(CERT_|CRL_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERROR_IN_|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)|PATH_LENGTH_|ERR_TLS_CERT_)/;

/** Of making a connection to `host`: `permission` for a certificate that is not valid, `refused` where the two do not agree upon TLS, `io`. */
export function connectError(error: LibraryError, host: string): Error {
  if (error instanceof BlockError) return error;
  const { code = '', reason, message } = error;
  if (CERTIFICATE_ERROR.test(code)) {
    return new BlockError('permission', `the certificate of ${host} is not valid: ${message}`, { cause: error });
  }
  if (/^(ERR_SSL_|ERR_TLS_|EPROTO$)/.test(code)) {
    return new BlockError('refused', `TLS with ${host} failed: ${reason ?? message}`, { cause: error });
  }
  return requestError(error, host);
}

/** Of a request: `io`, or `invalid-argument`. */
export function requestError(error: LibraryError, host: string): Error {
  if (error instanceof BlockError) return error;
  const { code = '', message } = error;
  if (code === 'UND_ERR_INVALID_ARG') {
    return new BlockError('invalid-argument', `no request can be made for ${host}: ${message}`, { cause: error });
  }
  if (code === 'ERR_ASSERTION') {
    return new BlockError('io', `the connection to ${host} failed: the answer is not HTTP`, { cause: error });
  }
  if (code.startsWith('UND_ERR_') && code.endsWith('_TIMEOUT')) {
    return new BlockError('io', `${host} has not answered in time`, { errno: 'ETIMEDOUT', cause: error });
  }
  const errno = errnoOf(error);
  const why = errno === undefined ? message || code : errnoWords(errno);
  return new BlockError('io', `the connection to ${host} failed: ${why}`, { errno, cause: error });
}
