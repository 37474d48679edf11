// Names of NBD exports: what they stand for, what is printed, and what qemu-img makes of the same.

import { spawnSync } from 'node:child_process';
import { expect } from 'chai';
import { denyGate, sameFolderGate } from '../../src/block/gate.js';
import { Graph } from '../../src/block/graph.js';
import { openNode } from '../../src/block/open.js';
import { nbdDriver } from '../../src/drivers/protocols/nbd/definition.js';
import { formatNbdName, parseNbdName } from '../../src/drivers/protocols/nbd/name.js';
import type { BlockdevOptionsNbd } from '../../src/schema/generated/types.js';
import type { LooseChild, LooseOptions } from '../../src/schema/loose-options.js';
import { parseImageOptions, parseJsonFilename } from '../../src/schema/options.js';
import { BlockError } from '../../src/util/errors.js';
import { requirePeer } from '../support/peers.js';
import { NbdLab } from './nbd-support.js';
import { failureOf } from './support.js';

const unix = (path: string, name?: string): BlockdevOptionsNbd => ({
  server: { type: 'unix', path },
  ...(name !== undefined && { export: name }),
});
const inet = (host: string, port: string, name?: string): BlockdevOptionsNbd => ({
  server: { type: 'inet', host, port },
  ...(name !== undefined && { export: name }),
});

/** What a level of options says to the driver `nbd`. */
const checked = (options: LooseChild) => (options as LooseOptions).asOptionsOf(nbdDriver);

/** A name, its options, and the name that is printed where it is another. */
const NAMES: [string, BlockdevOptionsNbd, string?][] = [
  ['nbd://localhost', inet('localhost', '10809'), 'nbd://localhost:10809'],
  ['nbd://localhost/', inet('localhost', '10809'), 'nbd://localhost:10809'],
  ['nbd://localhost:0/', inet('localhost', '10809'), 'nbd://localhost:10809'],
  ['nbd://localhost:1/x/y', inet('localhost', '1', 'x/y')],
  ['nbd://localhost:1//x', inet('localhost', '1', '/x')],
  ['nbd+tcp://localhost:1/x', inet('localhost', '1', 'x'), 'nbd://localhost:1/x'],
  ['nbd://[::1]:1/x', inet('::1', '1', 'x')],
  ['nbd://[127.0.0.1]:1/x', inet('127.0.0.1', '1', 'x'), 'nbd://127.0.0.1:1/x'],
  ['nbd://h:1/hello%20world', inet('h', '1', 'hello world')],
  ['nbd://h:1/%E2%82%AC%3F%23%25', inet('h', '1', '€?#%')],
  ['nbd://h:1/x#fragment', inet('h', '1', 'x'), 'nbd://h:1/x'],
  ['nbd+unix://?socket=/s', unix('/s')],
  ['nbd+unix:///?socket=/s', unix('/s'), 'nbd+unix://?socket=/s'],
  ['nbd+unix:///x?socket=/s', unix('/s', 'x')],
  ['nbd+unix:///x?socket=%2Fs%3F%26', unix('/s?&', 'x'), 'nbd+unix:///x?socket=/s%3F%26'],
  ['nbd+unix:///x?socket=relative', unix('relative', 'x')],
  ['nbd+unix:///x?socket=a+b', unix('a+b', 'x'), 'nbd+unix:///x?socket=a%2Bb'],
  [
    'nbd+unix:///x?socket=%00name',
    { server: { type: 'unix', path: 'name', abstract: true }, export: 'x' },
    'nbd+unix:///x?socket=%00name',
  ],
  ['nbd:localhost:10809', inet('localhost', '10809'), 'nbd://localhost:10809'],
  ['nbd:[::1]:5', inet('::1', '5'), 'nbd://[::1]:5'],
  ['nbd:localhost:5:exportname=a:b', inet('localhost', '5', 'a:b'), 'nbd://localhost:5/a:b'],
  ['nbd:unix:/s', unix('/s'), 'nbd+unix://?socket=/s'],
  ['nbd:unix:/s:exportname=x y', unix('/s', 'x y'), 'nbd+unix:///x%20y?socket=/s'],
];

const WRONG: [string, RegExp][] = [
  ['nbd:', /^NBD server address missing$/],
  ['nbd:unix:', /socket is missing/],
  ['nbd:localhost', /^error parsing address 'localhost'$/],
  ['nbd:localhost:', /^error parsing address 'localhost:'$/],
  ['nbd:localhost:x', /error parsing address/],
  ['nbd:localhost:70000', /error parsing address/],
  ['nbd://', /host is missing/],
  ['nbd:///x', /host is missing/],
  ['nbd://:1/x', /host is missing/],
  ['nbd://::1:5/x', /host is missing or malformed/],
  ['nbd://h:x/', /host is missing or malformed/],
  ['nbd://h:99999/', /port 99999/],
  ['nbd://user@h/', /user name/],
  ['nbd://h/?socket=/s', /unknown parameter 'socket'/],
  ['nbd://h/?tls-creds=t', /unknown parameter 'tls-creds'/],
  ['nbd://h/a%zz', /escaped wrongly/],
  ['nbd://h/a%ff', /escaped wrongly/],
  ['nbd://h/a%00b', /zero byte/],
  ['nbd+unix:///x', /socket is missing/],
  ['nbd+unix:///x?socket=', /socket is missing/],
  ['nbd+unix://h/x?socket=/s', /no host/],
  ['nbd+unix:///x?socket=/s&foo=1', /unknown parameter 'foo'/],
  ['nbd+unix:///x?socket=/s;foo=1', /unknown parameter 'foo'/],
  ['nbd+unix:///x?socket=/s&socket=/t', /'socket' is given twice/],
  ['nbd+unix:///x?socket=/s%00t', /zero byte/],
  ['nbds://h/x', /TLS needs credentials/],
];

describe('nbd names', () => {
  for (const [name, options, printed = name] of NAMES) {
    it(`${name} is ${printed}`, () => {
      expect(parseNbdName(name)).to.deep.equal(options);
      expect(formatNbdName(options)).to.equal(printed);
      expect(parseNbdName(printed)).to.deep.equal(options);
    });
  }

  for (const [name, message] of WRONG) {
    it(`${name} is refused`, () => {
      expect(() => parseNbdName(name))
        .to.throw(BlockError, message)
        .with.property('code', 'invalid-argument');
    });
  }

  it('with TLS name their credentials', () => {
    expect(parseNbdName('nbds://h:1/x?tls-creds=t&tls-hostname=other')).to.deep.equal({
      ...inet('h', '1', 'x'),
      'tls-creds': 't',
      'tls-hostname': 'other',
    });
    expect(parseNbdName('nbds+unix:///x?tls-creds=t&socket=/s')).to.deep.equal({
      ...unix('/s', 'x'),
      'tls-creds': 't',
    });
  });

  it('say it in JSON where no URI does', () => {
    const options: BlockdevOptionsNbd = { server: { type: 'inet', host: 'h', port: '1', ipv4: true }, export: 'x' };
    const name = formatNbdName(options);
    expect(checked(parseJsonFilename(name))).to.deep.equal({ driver: 'nbd', ...options });
    expect(formatNbdName({ server: { type: 'fd', str: '3' } })).to.match(/^json:/);
    expect(formatNbdName(unix('/s', '\ud800'))).to.match(/^json:/);
  });
});

describe('nbd options of old', () => {
  const same: [string, BlockdevOptionsNbd][] = [
    ['driver=nbd,path=/s,export=x', unix('/s', 'x')],
    ['driver=nbd,host=h', inet('h', '10809')],
    ['driver=nbd,host=h,port=5', inet('h', '5')],
    ['driver=nbd,server.type=unix,server.path=/s', unix('/s')],
  ];
  for (const [text, options] of same) {
    it(`${text} is the same as with a server`, () => {
      expect(checked(parseImageOptions(text))).to.deep.equal({ driver: 'nbd', ...options });
    });
  }

  it('may be below a format, and a number in JSON', () => {
    const { file } = parseImageOptions('driver=raw,file.driver=nbd,file.path=/s');
    expect(checked(file)).to.deep.equal({ driver: 'nbd', ...unix('/s') });
    expect(checked(parseJsonFilename('json:{"driver":"nbd","host":"h","port":5}'))).to.deep.equal({
      driver: 'nbd',
      ...inet('h', '5'),
    });
  });

  const refused: [string, string][] = [
    ['driver=nbd', 'NBD server address missing'],
    ['driver=nbd,port=3', 'NBD server address missing'],
    ['driver=nbd,path=/s,host=h', 'path and host may not be used at the same time'],
    ['driver=nbd,path=/s,port=3', 'port may not be used without host'],
    ['driver=nbd,path=/s,server.type=unix,server.path=/s', "Cannot use 'server' and path/host/port at the same time"],
    ['driver=nbd,server.type=vsock,server.cid=1', "Parameter 'type' does not accept value 'vsock'"],
  ];
  for (const [text, message] of refused) {
    it(`say of ${text}: ${message}`, () => {
      expect(() => checked(parseImageOptions(text))).to.throw(BlockError, message);
    });
  }
});

describe('nbd names and qemu-img', () => {
  let lab: NbdLab;

  before(async function () {
    requirePeer(this, 'qemu-nbd');
    requirePeer(this, 'qemu-img');
    lab = new NbdLab();
    const image = lab.path('a');
    spawnSync('qemu-img', ['create', '-q', '-f', 'raw', image, '1M']);
    await lab.qemuNbd(lab.path('s'), '-x', 'ex', '-f', 'raw', image);
    await lab.qemuNbd(lab.path('plain'), '-f', 'raw', image);
  });

  after(() => lab?.close());

  const names = [
    'nbd+unix:///ex?socket=SOCKET',
    'nbd+unix:///e%78?socket=SOCKET',
    'nbd:unix:SOCKET:exportname=ex',
    'nbd+unix://?socket=PLAIN',
    'nbd+unix:///?socket=PLAIN#x',
    'nbd:unix:PLAIN',
    'json:{"driver":"nbd","path":"SOCKET","export":"ex"}',
    'json:{"driver":"nbd","server":{"type":"unix","path":"SOCKET"},"export":"ex"}',
    'json:{"driver":"raw","file":{"driver":"nbd","server.type":"unix","server.path":"SOCKET","export":"ex"}}',
    'nbd+unix:////ex?socket=SOCKET',
    'nbd+unix:///other?socket=SOCKET',
    'nbd+unix://ex?socket=SOCKET',
    'nbd+unix:///ex?socket=SOCKET&a=b',
    'nbd+unix:///ex',
    'nbd://localhost:1/x',
    'nbd+foo://localhost:1/x',
  ];
  for (const name of names) {
    it(`agree about ${name}`, async () => {
      const real = name.replace('SOCKET', lab.path('s')).replace('PLAIN', lab.path('plain'));
      const theirs = spawnSync('qemu-img', ['info', '-U', '--output=json', real], { encoding: 'utf8' });
      const ours = lab.open(real, { readOnly: true });
      if (theirs.status === 0) {
        const node = await ours;
        expect(node.filename).to.equal((JSON.parse(theirs.stdout) as { filename: string }).filename);
        await lab.graph.release(node);
        return;
      }
      const { message } = await failureOf(ours);
      const reason = theirs.stderr.trim().split(`'${real}': `)[1]!;
      expect(message).to.contain(reason.startsWith('No valid URL') ? 'No valid URL specified' : reason);
    });
  }

  it('a backing file may be one, if the gate lets it', async () => {
    const overlay = lab.path('overlay');
    const backing = `nbd+unix:///ex?socket=${lab.path('s')}`;
    const made = spawnSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', backing, overlay]);
    expect(made.status).to.equal(0);
    const node = await lab.open(overlay, { readOnly: true });
    expect(node.children.get('backing')!.node.filename).to.equal(backing);
    await lab.graph.release(node);
    const asked: string[] = [];
    for (const gate of [denyGate, sameFolderGate]) {
      const graph = new Graph(lab.host, {
        gate: {
          open(reference, open) {
            asked.push(reference.target);
            return gate.open(reference, open);
          },
        },
      });
      const error = await failureOf(openNode(graph, overlay, { readOnly: true }));
      expect(error.code).to.equal('permission');
    }
    expect(asked).to.deep.equal([backing, backing]);
  });
});
