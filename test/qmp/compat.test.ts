// What a monitor tells of itself with an older QMP beside that of today: exactly what is there.

import { expect } from 'chai';
import type { CompatGeneration } from '../../src/schema/generated/types.js';
import { Bench } from './support.js';

interface Info {
  name: string;
  'meta-type': string;
  [key: string]: unknown;
}

describe('a monitor with an older QMP', () => {
  async function told(...generations: CompatGeneration[]): Promise<{ commands: string[]; schema: Info[] }> {
    const bench = new Bench(undefined, new Set(generations));
    try {
      const client = await bench.client();
      const commands = (await client.call('query-commands')) as { name: string }[];
      return { commands: commands.map(({ name }) => name), schema: (await client.call('query-qmp-schema')) as Info[] };
    } finally {
      await bench.close();
    }
  }

  const entities = (schema: Info[], kind: string): string[] =>
    schema.filter((info) => info['meta-type'] === kind).map(({ name }) => name);

  for (const generations of [[], ['first-names'], ['2.1'], ['first-names', '2.1']] as CompatGeneration[][]) {
    it(`lists the commands that its schema has, with ${generations.join(' and ') || 'none'}`, async () => {
      const { commands, schema } = await told(...generations);
      expect(entities(schema, 'command')).to.deep.equal(commands);
      expect(commands.includes('block_stream')).to.equal(generations.includes('first-names'));
      expect(JSON.stringify(schema)).not.to.contain('"if"');
      const names = new Set(schema.map(({ name }) => name));
      const text = JSON.stringify(schema);
      for (const [, name] of text.matchAll(/"(?:type|arg-type|ret-type|element-type)":"([^"]+)"/g)) {
        expect(names.has(name), `type ${name}`).to.equal(true);
      }
    });
  }

  it('has all that it has without, and besides the commands of that QMP', async () => {
    const plain = await told();
    const both = await told('first-names', '2.1');
    const added = both.commands.filter((name) => !plain.commands.includes(name));
    expect(added).to.deep.equal(['block_stream', 'block_job_set_speed', 'block_job_cancel', 'block_passwd']);
    expect(plain.commands.filter((name) => !both.commands.includes(name))).to.deep.equal([]);
    expect(entities(both.schema, 'event')).to.deep.equal(entities(plain.schema, 'event'));
  });
});
