// An object that the user made, of whatever type.

import type { TlsSettings } from '../../host/net.js';
import type { ThrottleGroup } from '../../host/throttle.js';
import type { ObjectOptions } from '../../schema/generated/types.js';
import type { Authorizer } from './authz.js';

/** What options were made into. */
export type Made =
  | { kind: 'throttle-group'; group: ThrottleGroup }
  | { kind: 'secret'; secret: Uint8Array }
  | { kind: 'tls'; settings: TlsSettings }
  | { kind: 'authz'; authorizer: Authorizer };

export interface UserObject {
  /** As they were given. */
  readonly options: ObjectOptions;
  readonly made: Made;
}
