// The tree of objects as a monitor sees it (QEMU's object model): paths, types and properties. Of QEMU's tree there is what Diskwright has:
//
//   /                 container
//   └ objects         container
//     ├ g             throttle-group     limits, x-iops-total, ...
//     └ s             secret             data, format, ...
//
// A path that does not begin with '/' names the one object whose path ends so.

import type { ObjectPropertyInfo, ObjectTypeInfo } from '../../schema/generated/types.js';
import type { TypeReference } from '../../schema/table.js';
import { validateMember } from '../../schema/validate.js';
import { BlockError } from '../../util/errors.js';
import { LIMITS } from '../throttle-names.js';
import type { UserObject } from './object.js';
import { allLimits, changeLimits } from './throttle-group.js';

interface Property {
  readonly type: string;
  get(object: UserObject): unknown;
  /** Left out: it cannot be changed. Throws `invalid-argument`. */
  set?(object: UserObject, value: unknown): void;
}

/** A property that tells an option, as it was given or by default. */
function option(type: string, name: string, byDefault: unknown): Property {
  return { type, get: ({ options }) => (options as unknown as Record<string, unknown>)[name] ?? byDefault };
}

/** The same of one that can be changed; `schemaType`: how the new value is checked. */
function setting(type: string, name: string, byDefault: unknown, schemaType: TypeReference): Property {
  return {
    ...option(type, name, byDefault),
    set: ({ options }, value) => void Reflect.set(options, name, validateMember(schemaType, value, name, {})),
  };
}

/** Objects are loaded as soon as they are there. */
const LOADED: Property = { type: 'bool', get: () => true };

function group({ made }: UserObject) {
  if (made.kind !== 'throttle-group') throw new BlockError('internal', `not a throttle group: ${made.kind}`);
  return made.group;
}

const LIMITS_PROPERTY: Property = {
  type: 'ThrottleLimits',
  get: (object) => allLimits(group(object)),
  set: (object, value) => {
    changeLimits(group(object), validateMember('ThrottleLimits', value, 'limits', {}) as object);
  },
};

const SINGLE_LIMITS = LIMITS.map(({ name }): [string, Property] => {
  const set = (): never => {
    throw new BlockError('invalid-argument', 'Property cannot be set after initialization');
  };
  return [`x-${name}`, { type: 'int', get: (object) => allLimits(group(object))[name], set }];
});

const CREDENTIALS: Readonly<Record<string, Property>> = {
  dir: option('string', 'dir', ''),
  endpoint: option('QCryptoTLSCredsEndpoint', 'endpoint', 'client'),
  'verify-peer': option('bool', 'verify-peer', true),
  loaded: LOADED,
};

interface Type {
  /** Null: the root of all types. */
  readonly parent: string | null;
  readonly abstract?: true;
  /** Objects of it are made by `object-add`. */
  readonly creatable?: true;
  readonly properties: Readonly<Record<string, Property>>;
}

const TYPES: Readonly<Record<string, Type>> = {
  object: { parent: null, abstract: true, properties: {} },
  container: { parent: 'object', properties: {} },
  authz: { parent: 'object', abstract: true, properties: {} },
  'authz-list': {
    parent: 'authz',
    creatable: true,
    properties: {
      policy: setting('QAuthZListPolicy', 'policy', 'deny', 'QAuthZListPolicy'),
      rules: setting('QAuthZListRule', 'rules', [], ['QAuthZListRule']),
    },
  },
  'authz-list-file': {
    parent: 'authz',
    creatable: true,
    properties: { filename: option('string', 'filename', ''), refresh: option('bool', 'refresh', true) },
  },
  'authz-simple': {
    parent: 'authz',
    creatable: true,
    properties: { identity: setting('string', 'identity', '', 'str') },
  },
  secret_common: { parent: 'object', abstract: true, properties: {} },
  secret: {
    parent: 'secret_common',
    creatable: true,
    properties: {
      data: option('string', 'data', ''),
      file: option('string', 'file', ''),
      format: option('QCryptoSecretFormat', 'format', 'raw'),
      keyid: option('string', 'keyid', ''),
      iv: option('string', 'iv', ''),
      loaded: LOADED,
    },
  },
  'throttle-group': {
    parent: 'object',
    creatable: true,
    properties: { limits: LIMITS_PROPERTY, ...Object.fromEntries(SINGLE_LIMITS) },
  },
  'tls-creds': { parent: 'object', abstract: true, properties: {} },
  'tls-creds-psk': {
    parent: 'tls-creds',
    creatable: true,
    properties: { ...CREDENTIALS, username: option('string', 'username', '') },
  },
  'tls-creds-x509': {
    parent: 'tls-creds',
    creatable: true,
    properties: { ...CREDENTIALS, passwordid: option('string', 'passwordid', '') },
  },
};

/** The name of an object's type: one has two names as an option. */
function typeOf({ options }: UserObject): string {
  const name = options['qom-type'];
  return name === 'authz-listfile' ? 'authz-list-file' : name;
}

type Place = { readonly path: string; readonly type: string; readonly object: UserObject | null };

const ROOT: Place = { path: '/', type: 'container', object: null };
const OBJECTS: Place = { path: '/objects', type: 'container', object: null };

/** What the monitor asks of the objects of a graph. */
export class ObjectTree {
  readonly #objects: ReadonlyMap<string, UserObject>;

  constructor(objects: ReadonlyMap<string, UserObject>) {
    this.#objects = objects;
  }

  /** Throws `device-not-found`, or `invalid-argument` where several objects have paths that end so. */
  list(path: string): ObjectPropertyInfo[] {
    const place = this.#find(path);
    const children = this.#childrenOf(place);
    return [...propertiesOf(place.type), ...children.map(({ name, type }) => ({ name, type: `child<${type}>` }))];
  }

  /** The value of a property; of a child, its path. Throws as `list`, and `not-found`. */
  get(path: string, property: string): unknown {
    const place = this.#find(path);
    if (property === 'type') return place.type;
    const child = this.#childrenOf(place).find(({ name }) => name === property);
    if (child !== undefined) return child.path;
    return propertyOf(place, property).get(place.object!);
  }

  /** Throws as `get`, and `invalid-argument`. */
  set(path: string, property: string, value: unknown): void {
    const place = this.#find(path);
    const fixed = property === 'type' || this.#childrenOf(place).some(({ name }) => name === property);
    const { set } = fixed ? {} : propertyOf(place, property);
    if (set === undefined) {
      throw new BlockError('invalid-argument', `Property '${place.type}.${property}' is not writable`);
    }
    set(place.object!, value);
  }

  #places(): Place[] {
    const made = [...this.#objects].map(([id, object]) => ({ path: `/objects/${id}`, type: typeOf(object), object }));
    return [ROOT, OBJECTS, ...made];
  }

  #find(path: string): Place {
    const words = path.split('/').filter((word) => word !== '');
    const absolute = path.startsWith('/');
    const found = this.#places().filter((place) => {
      const own = place.path.split('/').filter((word) => word !== '');
      if (absolute) return own.join('/') === words.join('/');
      return own.slice(own.length - words.length).join('/') === words.join('/') && own.length >= words.length;
    });
    if (found.length === 1) return found[0];
    if (found.length > 1) throw new BlockError('invalid-argument', `Path '${path}' is ambiguous`);
    throw new BlockError('device-not-found', `Device '${path}' not found`);
  }

  #childrenOf(place: Place): (Place & { name: string })[] {
    if (place === ROOT) return [{ ...OBJECTS, name: 'objects' }];
    if (place !== OBJECTS) return [];
    return this.#places()
      .filter(({ object }) => object !== null)
      .map((child) => ({ ...child, name: child.path.slice('/objects/'.length) }));
  }
}

function propertyOf({ type }: Place, name: string): Property {
  const { properties } = TYPES[type];
  if (Object.hasOwn(properties, name)) return properties[name];
  throw new BlockError('not-found', `Property '${type}.${name}' not found`);
}

/** What objects of a type tell. Throws `device-not-found` where there is no such type. */
export function propertiesOf(type: string): ObjectPropertyInfo[] {
  if (!Object.hasOwn(TYPES, type)) throw new BlockError('device-not-found', `Class '${type}' not found`);
  const own = Object.entries(TYPES[type].properties).map(([name, property]) => ({ name, type: property.type }));
  return [{ name: 'type', type: 'string' }, ...own];
}

/** What an object of a type can be made with. Throws as `propertiesOf`. */
export function settableOf(type: string): ObjectPropertyInfo[] {
  return propertiesOf(type).filter(({ name }) => name !== 'type' && TYPES[type].properties[name] !== LOADED);
}

/** The types that are, or are derived from, `implemented`; all where it is left out. */
export function listTypes(implemented = 'object', abstract = false): ObjectTypeInfo[] {
  return Object.entries(TYPES)
    .filter(([name, type]) => (abstract || type.abstract !== true) && isA(name, implemented))
    .map(([name, type]) => ({
      name,
      ...(type.abstract && { abstract: true }),
      ...(type.parent !== null && { parent: type.parent }),
    }));
}

function isA(name: string, wanted: string): boolean {
  if (wanted === 'user-creatable') return TYPES[name].creatable === true;
  for (let at: string | null = name; at !== null; at = TYPES[at].parent) if (at === wanted) return true;
  return false;
}
