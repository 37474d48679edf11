// A required setting whose name is misspelt: the call says which one is meant, not only that one is missing. On the simulated host.

import { expect } from 'chai';
import { createSimHost } from '../../src/host/sim/index.js';
import { Workspace } from '../../src/library/workspace.js';
import { failureOf } from '../drivers/support.js';

// biome-ignore lint/suspicious/noExplicitAny: what is tested is what TypeScript forbids.
type Wrong = any;
type Call = (workspace: Workspace) => Promise<unknown>;

const create =
  (options: Wrong): Call =>
  (workspace) =>
    workspace.create('/new', options);
const open =
  (image: Wrong): Call =>
  (workspace) =>
    workspace.open(image);

const MISSPELT: readonly (readonly [given: string, meant: string, call: Call])[] = [
  ['fromat', 'driver', create({ fromat: 'qcow2', size: 512 })],
  ['format', 'driver', create({ format: 'qcow2', size: 512 })],
  ['drvier', 'driver', create({ drvier: 'qcow2', size: 512 })],
  ['szie', 'size', create({ driver: 'raw', szie: 512 })],
  ['fromat', 'driver', (workspace) => workspace.convert('/a', '/b', { create: { fromat: 'qcow2' } as Wrong })],
  ['fil', 'file', open({ driver: 'qcow2', fil: { driver: 'file', filename: '/a' } })],
  ['filname', 'filename', open({ driver: 'file', filname: '/a' })],
  ['drvier', 'driver', open({ drvier: 'file', filename: '/a' })],
  ['qom-typ', 'qom-type', (workspace) => workspace.addObject({ 'qom-typ': 'secret', id: 'a' } as Wrong)],
  ['idd', 'id', (workspace) => workspace.addObject({ 'qom-type': 'secret', idd: 'a', data: 'x' } as Wrong)],
];

describe('a required setting that is misspelt', () => {
  for (const [given, meant, call] of MISSPELT) {
    it(`is asked for: ${given} for ${meant}`, async () => {
      const host = createSimHost({});
      await host.run(async () => {
        const workspace = new Workspace(host);
        const error = await failureOf(call(workspace));
        expect(error.message).to.match(
          new RegExp(`Parameter '${given}' is unexpected \\(did you mean '${meant}'\\?\\)`),
        );
        expect(error.code).to.equal('unknown-option');
        await workspace.close();
      });
    });
  }
});
