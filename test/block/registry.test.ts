// Registering drivers, and taking that back.

import { expect } from 'chai';
import {
  type DriverDefinition,
  defaultDriver,
  findDriver,
  knownDriver,
  namesWithPrefix,
  recognisers,
  registerDriver,
} from '../../src/block/registry.js';
import { registerDrivers } from '../../src/drivers/index.js';
import { findJobType, registerJobType } from '../../src/jobs/registry.js';

describe('the registry of drivers', () => {
  const undo: (() => void)[] = [];
  before(registerDrivers);
  afterEach(() => {
    for (const one of undo.splice(0)) one();
  });

  /** Registers a driver that is the default for overlays, with names that begin with `tape:`. */
  function register(name: string): DriverDefinition {
    const names = { prefixes: ['tape'], parse: () => ({ driver: 'null-co' }) as never };
    const { open } = findDriver('raw');
    const definition: DriverDefinition = { name: name as 'raw', kind: 'format', defaultFor: 'overlay', names, open };
    undo.push(registerDriver(definition));
    return definition;
  }

  it('leaves a default and a prefix that another driver has taken since', () => {
    register('first');
    const second = register('second');
    undo.shift()!();
    expect(knownDriver('first')).to.equal(null);
    expect(defaultDriver('overlay')).to.equal(second);
    expect(namesWithPrefix('tape')).to.equal(second.names);
  });

  it('gives a default back to the driver that had it', () => {
    const before = defaultDriver('overlay');
    register('first');
    undo.pop()!();
    expect(defaultDriver('overlay')).to.equal(before);
    expect(namesWithPrefix('tape')).to.equal(undefined);
  });

  it('does not take a default back when its own drivers are registered once more', () => {
    const first = register('first');
    registerDrivers();
    expect(defaultDriver('overlay')).to.equal(first);
  });

  it('leaves another driver of the same name', () => {
    register('same');
    const second = register('same');
    undo.shift()!();
    expect(knownDriver('same')).to.equal(second);
  });

  it('lets a driver take the place of what recognises its format, until it is gone', () => {
    const own = { probe: () => 50 };
    const before = recognisers().filter(({ name }) => name === 'vmdk');
    const { open } = findDriver('raw');
    undo.push(registerDriver({ name: 'vmdk' as 'raw', kind: 'format', open, ...own }));
    registerDrivers();
    const during = recognisers().filter(({ name }) => name === 'vmdk');
    undo.pop()!();
    expect(during.map(({ probe }) => probe)).to.deep.equal([own.probe]);
    expect(before).to.have.length(1);
    expect(recognisers().filter(({ name }) => name === 'vmdk')).to.deep.equal(before);
  });

  it('leaves another job type of the same name', () => {
    const type = { name: 'same', create: () => null } as never as Parameters<typeof registerJobType>[0];
    const other = { ...type };
    const first = registerJobType(type);
    undo.push(registerJobType(other));
    first();
    expect(findJobType('same')).to.equal(other);
  });
});
