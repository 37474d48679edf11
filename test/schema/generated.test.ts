// The generated files are those of the schema as it is now, and the schema says what QEMU's says.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { generate } from '../../scripts/generate-schema.js';
import { COMMANDS, EVENTS, TYPES } from '../../src/schema/generated/table.js';
import type { Members, TypeEntry } from '../../src/schema/table.js';
import { requirePeer } from '../support/peers.js';

describe('generated schema files', () => {
  for (const [path, text] of generate()) {
    it(`${path.slice(path.lastIndexOf('/') + 1)} is up to date`, () => {
      expect(readFileSync(path, 'utf8') === text, 'run `npm run schema`').to.equal(true);
    });
  }
});

interface SchemaInfo {
  name: string;
  'meta-type': string;
  'arg-type'?: string;
  members?: { name: string; type: string; default?: null }[];
  tag?: string;
  variants?: { case: string; type: string }[];
  values?: string[];
}

/** Members that Debian's QEMU does not have. */
const OURS = new Set([
  'BlockdevOptions(qcow2).discard-no-unref',
  'blockdev-add(qcow2).discard-no-unref',
  'BlockdevOptions(nbd).x-multi-conn',
  'blockdev-add(nbd).x-multi-conn',
  'nbd-server-start.handshake-max-seconds',
  // QEMU opens no differencing images, and takes the last one from a shell alone.
  'BlockdevOptions(vhdx).backing',
  'blockdev-add(vhdx).backing',
  'BlockdevOptions(vpc).backing',
  'blockdev-add(vpc).backing',
  'BlockdevOptions(vpc).force_size_calc',
  'blockdev-add(vpc).force_size_calc',
  // QEMU has it since version 11.
  'BlockdevOptions(http).force-range',
  'blockdev-add(http).force-range',
  'BlockdevOptions(https).force-range',
  'blockdev-add(https).force-range',
  // QEMU has them since version 9.0, the last but one as an option of qemu-img alone.
  'BlockdevOptions(luks).header',
  'blockdev-add(luks).header',
  'BlockdevCreateOptions(luks).header',
  'BlockdevCreateOptions(luks).detached-header',
  'blockdev-create.options(luks).header',
  'blockdev-create.options(luks).detached-header',
  // An option of qemu-img alone.
  'BlockdevCreateOptions(qcow).backing-fmt',
  'blockdev-create.options(qcow).backing-fmt',
  'BlockdevCreateOptions(vmdk).backing-fmt',
  'blockdev-create.options(vmdk).backing-fmt',
]);

/** Members that it wants, and newer versions do not. */
const OPTIONAL = new Set(['BlockdevCreateOptions(luks).file', 'blockdev-create.options(luks).file']);

/** Values of enumerations that QEMU does not have. */
const OUR_VALUES = new Set(['compact', 'cow']);

describe("the schema against QEMU's", () => {
  let theirs: Map<string, SchemaInfo>;

  before(function () {
    requirePeer(this, 'qemu-storage-daemon');
    const output = execFileSync('qemu-storage-daemon', ['--chardev', 'stdio,id=c', '--monitor', 'chardev=c'], {
      input: '{"execute":"qmp_capabilities"}{"execute":"query-qmp-schema"}{"execute":"quit"}',
      maxBuffer: 1 << 26,
    });
    const answers = output
      .toString()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { return?: unknown });
    const schema = answers.map((answer) => answer.return).find(Array.isArray) as SchemaInfo[];
    theirs = new Map(schema.map((info) => [info.name, info]));
  });

  const table: Readonly<Record<string, TypeEntry>> = TYPES;

  /** Each member of ours is one of theirs, as mandatory as theirs; each enum has theirs or fewer values. */
  function compare(ours: string, their: string, path: string, seen: Set<string>): void {
    const entry = table[ours];
    const info = theirs.get(their)!;
    if (entry === undefined || seen.has(ours)) return;
    seen.add(ours);
    if (entry.kind === 'enum') {
      expect(info.values, path).to.include.members(entry.values.filter((value) => !OUR_VALUES.has(value)));
    }
    if (entry.kind === 'struct') compareMembers(entry.members, info, path, seen);
    if (entry.kind !== 'union') return;
    compareMembers(entry.members, info, path, seen);
    for (const [value, branch] of Object.entries(entry.branches)) {
      const variant = info.variants!.find((candidate) => candidate.case === value);
      const added = table[branch];
      if (value === 'raw' && ours === 'BlockdevCreateOptions') continue; // only ours can be made by itself
      if (OUR_VALUES.has(value)) continue;
      if (added?.kind === 'struct')
        compareMembers(added.members, theirs.get(variant!.type)!, `${path}(${value})`, seen);
    }
  }

  function compareMembers(members: Members, info: SchemaInfo, path: string, seen: Set<string>): void {
    for (const [name, member] of Object.entries(members)) {
      const match = info.members?.find((candidate) => candidate.name === name);
      if (match === undefined && OURS.has(`${path}.${name}`)) continue;
      expect(match, `${path}.${name}`).not.equal(undefined);
      const isOptional = 'default' in match! || OPTIONAL.has(`${path}.${name}`);
      expect(member.optional ?? false, `${path}.${name} is optional`).to.equal(isOptional);
      if (typeof member.type === 'string') compare(member.type, match!.type, `${path}.${name}`, seen);
    }
    for (const match of info.members ?? []) {
      if (!('default' in match)) expect(members, path).to.have.property(match.name);
    }
  }

  it('has the arguments of the commands', () => {
    for (const [command, type] of Object.entries(COMMANDS)) {
      // It has a test of its own below: QEMU's name of one object is another one.
      if (command === 'object-add') continue;
      const info = theirs.get(command);
      if (info !== undefined && type !== null) compare(type, info['arg-type']!, command, new Set());
    }
  });

  it('has the data of the events', () => {
    for (const [event, type] of Object.entries(EVENTS)) {
      if (type !== null) compare(type, theirs.get(event)!['arg-type']!, event, new Set());
    }
  });

  it('has the options of nodes and of images to be made', () => {
    compare('BlockdevOptions', theirs.get('blockdev-add')!['arg-type']!, 'BlockdevOptions', new Set());
    const create = theirs.get(theirs.get('blockdev-create')!['arg-type']!)!;
    const options = create.members!.find((member) => member.name === 'options')!;
    compare('BlockdevCreateOptions', options.type, 'BlockdevCreateOptions', new Set());
  });

  it('has the options of objects', () => {
    const info = theirs.get(theirs.get('object-add')!['arg-type']!)!;
    const { branches } = TYPES.ObjectOptions;
    for (const [kind, branch] of Object.entries(branches)) {
      // QEMU 7.2 has two names for it, and its manual the other one.
      const name = kind === 'authz-list-file' ? 'authz-listfile' : kind;
      compare(branch, info.variants!.find((variant) => variant.case === name)!.type, kind, new Set());
    }
  });

  it('has the options of exports', () => {
    compare('NbdServerAddOptions', theirs.get('nbd-server-add')!['arg-type']!, 'NbdServerAddOptions', new Set());
    compare('BlockExportOptions', theirs.get('block-export-add')!['arg-type']!, 'BlockExportOptions', new Set());
  });
});
