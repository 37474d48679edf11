// Options of an image as a person writes them, with drivers left out, in JSON with single quotes, with values of another type: beside qemu-img.

import { expect } from 'chai';
import { asOurs, Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';

/** `over` is an overlay of `base`, `bare` is raw. What is said of each must be what qemu-img says, word by word. */
const IMAGE_OPTS: readonly string[] = [
  'file.filename=over,backing.file.filename=base',
  'file.filename=over,backing.file.filename=base,backing.l2-cache-size=1M',
  'file.filename=over,backing.l2-cache-size=1M',
  'file.filename=over,backing.read-only=off',
  'file.filename=over,backing.foo=1',
  'driver=qcow2,file.filename=over,backing.foo=1',
  'driver=qcow2,file.filename=over,backing.backing.file.filename=bare',
  'file.filename=base,backing.file.filename=bare',
  'file.filename=bare,backing.file.filename=base',
  'driver=raw,file.filename=bare,backing.file.filename=base',
  'file.filename=over,l2-cache-size=1M',
  'file.filename=over,l2-cache-size=1.5M',
  'file.filename=bare,offset=512',
  'file.filename=over,offset=512',
  'file.file.filename=over',
  'driver=qcow2,file.filename=over,foo=1',
  'file.filename=over,file.foo=1',
  'driver=qcow2,filename=over',
  'backing.file.filename=base',
  'file.driver=nosuch,file.filename=over',
  'driver=nosuch,file.filename=over',
];
const JSON_NAMES: readonly string[] = [
  "{'driver':'null-co','size':1048576,'read-zeroes':true}",
  "{'driver':'null-co','size':'1M','read-zeroes':'on'}",
  "{'driver':'null-co','size':null,'read-zeroes':'yes'}",
  "{'file':{'filename':'over'},'backing':null}",
  "{'driver':true,'file':{'filename':'over'}}",
  "{'driver':'nosuch'}",
  "{'driver':'file'}",
  "{'driver':'qcow2'}",
  "{'file':null}",
  "{'file':{'filename':7}}",
  "{'driver':'raw','file':{'driver':'file','filename':7}}",
  "{'driver':'qcow2','node-name':7,'file':{'filename':'over'}}",
  "{'driver':'raw','read-only':1,'file':{'filename':'bare'}}",
  "{'driver':'nbd','server':{'type':'unix','path':7}}",
  "{'driver':'nbd','server':{'type':'unix','path':true}}",
  "{'driver':'nbd','path':7}",
  "{'driver':'nbd','host':'127.0.0.1','port':1}",
  "{'driver':'raw','file':{'filename':'it\\'s'}}",
  "{'driver':'raw','file':{'filename':'bare'}} x",
  "{'driver':'raw','file':{'filename':'bare','filename':'over'}}",
  "{'driver':'raw',}",
];

describe('options without drivers and with values of another type, beside qemu-img', function () {
  this.timeout(60_000);
  let shop: Workshop;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', 'base', '1M');
    shop.qemuIo('base', 'write -q -P 1 0 64k');
    shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', 'base', '-F', 'qcow2', 'over');
    shop.qemuIo('over', 'write -q -P 2 128k 64k');
    shop.must('qemu-img', 'create', '-q', '-f', 'raw', 'bare', '1M');
  });
  after(() => shop.remove());

  const same = (...words: string[]) => expect(shop.ours(...words)).to.deep.equal(asOurs(shop.qemuImg(...words)));

  for (const options of IMAGE_OPTS) it(`map --image-opts ${options}`, () => same('map', '--image-opts', options));
  for (const name of JSON_NAMES) it(`map json:${name}`, () => same('map', `json:${name}`));

  it('-f counts more than the driver in JSON', () => {
    same('map', '-f', 'qcow2', "json:{'driver':'raw','file':{'filename':'over'}}");
    same('map', '-f', 'raw', "json:{'driver':'null-co','size':1048576}");
    same('map', '-f', 'null-co', "json:{'size':1048576}");
  });

  it('the backing file that a header names in such JSON is opened', () => {
    for (const [name, format] of [
      ["json:{'driver':'null-co','size':1048576,'read-zeroes':'on'}", 'raw'],
      ["json:{'file':{'filename':'base'}}", 'qcow2'],
      ["json:{'driver':'qcow2','file':{'driver':'file','filename':'base'}}", 'qcow2'],
    ]) {
      shop.must('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', name, '-F', format, 'named', '1M');
      same('compare', 'named', 'named');
      same('map', 'named');
    }
  });

  it('who only looks at an image is not asked for its backing file', () => {
    same('info', '--image-opts', 'file.filename=over,backing.file.filename=base');
    same('info', '--image-opts', 'file.filename=over,l2-cache-size=1M');
  });
});
