// Objects that others name by their id: secrets, credentials, lists of who may come in, groups of throttled nodes.

import { listTypes, propertiesOf } from '../../block/objects/qom.js';
import type { CommandTable } from '../command.js';

export const OBJECT_COMMANDS = {
  'object-add': ({ graph }, options) => graph.objects.add(options),
  'object-del': ({ graph }, { id }) => graph.objects.remove(id),
  'qom-list': ({ graph }, { path }) => graph.objects.tree.list(path),
  'qom-get': ({ graph }, { path, property }) => graph.objects.tree.get(path, property),
  'qom-set': ({ graph }, { path, property, value }) => graph.objects.tree.set(path, property, value),
  'qom-list-types': (_, { implements: type, abstract }) => listTypes(type, abstract),
  'qom-list-properties': (_, { typename }) => propertiesOf(typename),
  // There are no iothread objects.
  'query-iothreads': () => [],
} satisfies Partial<CommandTable>;
