// Encrypted images of both kinds (LUKS, and qcow2 with LUKS or AES) that QEMU's tools and we make, write and change by turns, from a seed: afterwards both
// read what was written, open by the passwords that are left and by no others, and find no fault.

import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Random } from '../../src/host/sim/index.js';
import { type Image, openRealHost, Workspace } from '../../src/index.js';
import { outcomeOf } from '../support/beside.js';
import { Workshop } from '../support/cli.js';
import { requirePeer } from '../support/peers.js';
import { SOAK, seedsOf, spanOf, timeLimit } from '../support/sample.js';

const SEEDS = seedsOf({ fixed: 2, daily: 1, soak: 300 });
const IDS = ['a', 'b', 'c'] as const;
const SECRETS = IDS.flatMap((id) => ['--object', `secret,id=${id},data=password of ${id}`]);
const SECTOR = 512;
/** qemu-img takes more than a second of a processor for each password, and some for a new image: it seldom makes them, and in a short run not at all. */
const THEIR_KEYS = SOAK ? 0.15 : 0;
const FAST = { 'iter-time': 10 } as const;

const HASHES = ['md5', 'sha1', 'sha224', 'sha256', 'sha384', 'sha512', 'ripemd160'] as const;
/** Those whose digests are keys of AES. */
const VECTOR_HASHES = ['md5', 'sha256'] as const;

/** How the disk is encrypted: QAPI's names and values, but for the password's. */
interface Algorithms {
  'cipher-alg': 'aes-128' | 'aes-192' | 'aes-256';
  'cipher-mode': 'ecb' | 'cbc' | 'xts' | 'ctr';
  'ivgen-alg': 'plain' | 'plain64' | 'essiv';
  'ivgen-hash-alg'?: (typeof HASHES)[number];
  'hash-alg': (typeof HASHES)[number];
}

function drawAlgorithms(random: Random): Algorithms {
  const vectors = random.pick(['plain', 'plain64', 'essiv'] as const);
  return {
    // QEMU ends in an assertion where the key material is no whole sectors: with 24 bytes of key.
    ...random.pick([
      { 'cipher-alg': random.pick(['aes-128', 'aes-192', 'aes-256'] as const), 'cipher-mode': 'xts' },
      {
        'cipher-alg': random.pick(['aes-128', 'aes-256'] as const),
        'cipher-mode': random.pick(['cbc', 'ctr', 'ecb'] as const),
      },
    ] as const),
    'ivgen-alg': vectors,
    ...(vectors === 'essiv' && { 'ivgen-hash-alg': random.pick(VECTOR_HASHES) }),
    ...(vectors !== 'essiv' && random.chance(0.2) && { 'ivgen-hash-alg': random.pick(HASHES) }),
    'hash-alg': random.pick(HASHES),
  };
}

describe('encrypted images that QEMU and we change by turns', function () {
  this.timeout(timeLimit(120_000));
  let shop: Workshop;
  let workspace: Workspace;

  before(async function () {
    for (const peer of ['qemu-img', 'qemu-io']) requirePeer(this, peer);
    shop = await Workshop.open();
    workspace = new Workspace(await openRealHost());
    for (const id of IDS) await workspace.addObject(`secret,id=${id},data=password of ${id}`);
  });
  after(async () => {
    await workspace?.close();
    shop?.remove();
  });

  it(`read and open alike (${spanOf(SEEDS)})`, async () => {
    for (const seed of SEEDS) {
      const one = new Case(seed, shop, workspace);
      await one.run().catch((error: Error) => {
        throw new Error(`seed ${seed}: ${one.log.join('; ')}: ${error.message}`);
      });
    }
  });
});

class Case {
  /** What was done. */
  readonly log: string[] = [];
  readonly #random: Random;
  readonly #shop: Workshop;
  readonly #workspace: Workspace;
  readonly #path: string;
  readonly #kind: 'luks' | 'qcow2' | 'aes';
  readonly #clusterBytes: number;
  #content: Buffer;
  #passwords = new Set<string>(['a']);
  readonly #snapshots = new Map<string, Buffer>();

  constructor(seed: number, shop: Workshop, workspace: Workspace) {
    this.#random = new Random(seed);
    this.#shop = shop;
    this.#workspace = workspace;
    this.#path = shop.path(`image${seed}`);
    this.#kind = this.#random.pick(['luks', 'luks', 'qcow2', 'qcow2', 'aes']);
    this.#clusterBytes = 2 ** this.#random.pick([9, 12, 16]);
    this.#content = Buffer.alloc(SECTOR * this.#random.between(1, 1500));
  }

  async run(): Promise<void> {
    await this.#make();
    for (let step = this.#random.between(3, 7); step > 0; step--) await this.#step();
    await this.#compare();
  }

  async #make(): Promise<void> {
    const kind = this.#kind;
    const size = this.#content.length;
    const algorithms = drawAlgorithms(this.#random);
    const by = kind === 'aes' ? this.#random.chance(0.5) : this.#random.chance(THEIR_KEYS);
    this.log.push(
      `${by ? 'qemu-img' : 'we'} make ${kind} of ${size} in ${this.#clusterBytes} ${JSON.stringify(algorithms)}`,
    );
    const path = this.#path;
    const cluster = { 'cluster-size': this.#clusterBytes };
    const encrypt = { 'key-secret': 'a', ...algorithms, ...FAST };
    if (by) {
      const prefix = kind === 'luks' ? '' : 'encrypt.';
      const given = kind === 'aes' ? { 'key-secret': 'a' } : encrypt;
      const options = Object.entries(given).map(([name, value]) => `${prefix}${name}=${value}`);
      if (kind !== 'luks')
        options.push(`encrypt.format=${kind === 'aes' ? 'aes' : 'luks'},cluster_size=${this.#clusterBytes}`);
      const format = kind === 'luks' ? 'luks' : 'qcow2';
      await this.#must('qemu-img', 'create', '-q', ...SECRETS, '-f', format, '-o', options.join(','), path, `${size}`);
    } else if (kind === 'luks') await this.#workspace.create(path, { driver: 'luks', size, ...encrypt });
    else {
      const how =
        kind === 'aes' ? ({ format: 'qcow', 'key-secret': 'a' } as const) : ({ format: 'luks', ...encrypt } as const);
      await this.#workspace.create(path, { driver: 'qcow2', size, ...cluster, encrypt: how });
    }
    // What was never written of a raw encrypted disk is anything.
    if (kind === 'luks') await this.#write(0, size);
  }

  async #step(): Promise<void> {
    const random = this.#random;
    const roll = random.fraction();
    if (this.#kind !== 'aes' && roll < 0.3) return this.#changeSlots();
    if (this.#kind !== 'luks' && roll < 0.5) return this.#snapshot();
    const size = this.#content.length;
    if (roll < 0.85) {
      const offset = random.below(size);
      return this.#write(offset, random.between(1, Math.min(size - offset, 100_000)));
    }
    const first = random.below(Math.ceil(size / this.#clusterBytes)) * this.#clusterBytes;
    const length = Math.min(size - first, this.#clusterBytes * random.between(1, 4));
    const discards = this.#kind !== 'luks' && random.chance(0.5);
    this.#content.fill(0, first, first + length);
    await this.#turn(`${discards ? 'discard' : 'write -z'} ${first} ${length}`, (image) =>
      discards ? image.discard(first, length) : image.writeZeroes(first, length),
    );
  }

  #write(offset: number, length: number): Promise<void> {
    const value = this.#random.between(1, 255);
    this.#content.fill(value, offset, offset + length);
    return this.#turn(`write -P ${value} ${offset} ${length}`, (image) =>
      image.write(offset, Buffer.alloc(length, value)),
    );
  }

  /** One request by qemu-io or by us. */
  async #turn(command: string, action: (image: Image) => Promise<unknown>): Promise<void> {
    const opener = this.#opener();
    if (this.#random.chance(0.5)) {
      this.log.push(`qemu-io: ${command}`);
      await this.#must('qemu-io', ...SECRETS, '-c', command, '--image-opts', this.#options(opener));
    } else {
      this.log.push(`we: ${command}`);
      await this.#ours(opener, action);
    }
  }

  async #snapshot(): Promise<void> {
    const random = this.#random;
    const theirs = random.chance(0.5);
    const known = [...this.#snapshots.keys()];
    const what = known.length === 0 ? 'c' : random.pick(['c', 'a', 'd'] as const);
    const name = what === 'c' ? `s${random.next()}` : random.pick(known);
    this.log.push(`${theirs ? 'qemu-img' : 'we'}: snapshot -${what} ${name}`);
    const opener = this.#opener();
    if (theirs)
      await this.#must('qemu-img', 'snapshot', ...SECRETS, `-${what}`, name, '--image-opts', this.#options(opener));
    else {
      await this.#ours(opener, async (image) => {
        if (what === 'c') await image.createSnapshot(name);
        else if (what === 'a') await image.applySnapshot({ name });
        else await image.deleteSnapshot({ name });
      });
    }
    if (what === 'c') this.#snapshots.set(name, Buffer.from(this.#content));
    else if (what === 'a') this.#content = Buffer.from(this.#snapshots.get(name)!);
    else this.#snapshots.delete(name);
  }

  async #changeSlots(): Promise<void> {
    const opener = this.#opener();
    const prefix = this.#kind === 'luks' ? '' : 'encrypt.';
    const amend = (options: string): Promise<void> =>
      this.#must('qemu-img', 'amend', ...SECRETS, '-o', options, '--image-opts', this.#options(opener));
    const id = this.#random.pick(IDS);
    if (!this.#passwords.has(id)) {
      const theirs = this.#random.chance(THEIR_KEYS);
      this.log.push(`${theirs ? 'qemu-img' : 'we'}: add the password ${id}`);
      if (theirs) await amend(`${prefix}state=active,${prefix}iter-time=10,${prefix}new-secret=${id}`);
      else
        await this.#ours(opener, (image) => image.amend({ encrypt: { state: 'active', 'new-secret': id, ...FAST } }));
      this.#passwords.add(id);
    } else if (this.#passwords.size > 1) {
      const theirs = this.#random.chance(0.5);
      this.log.push(`${theirs ? 'qemu-img' : 'we'}: erase the password ${id}`);
      if (theirs) await amend(`${prefix}state=inactive,${prefix}old-secret=${id}`);
      else await this.#ours(opener, (image) => image.amend({ encrypt: { state: 'inactive', 'old-secret': id } }));
      this.#passwords.delete(id);
    }
  }

  /** Both read the content, open by the passwords that are left, and find no fault. */
  async #compare(): Promise<void> {
    const opener = this.#opener();
    const raw = `${this.#path}.raw`;
    await this.#must('qemu-img', 'convert', ...SECRETS, '--image-opts', '-O', 'raw', this.#options(opener), raw);
    expect(readFileSync(raw).equals(this.#content), 'what qemu-img reads').to.equal(true);
    await this.#ours(opener, async (image) => {
      const read = await image.read(0, image.size);
      expect(read.equals(this.#content), 'what we read').to.equal(true);
      const names = this.#kind === 'luks' ? [] : image.snapshots().map(({ name }) => name);
      expect(names).to.have.members([...this.#snapshots.keys()]);
    });
    if (this.#kind !== 'luks') {
      const { findings } = await this.#workspace.check(this.#ourOptions(opener));
      expect(findings).to.deep.equal([]);
      await this.#must('qemu-img', 'check', ...SECRETS, '--image-opts', this.#options(opener));
    }
    // Of AES, every password opens the image.
    if (this.#kind === 'aes') return;
    for (const id of IDS) {
      const right = this.#passwords.has(id);
      const { code } = await outcomeOf(
        'qemu-io',
        [...SECRETS, '-c', 'length', '--image-opts', this.#options(id)],
        this.#shop.folder,
      );
      expect(code, `qemu-io with the password ${id}`).to.equal(right ? 0 : 1);
      const said = await this.#ours(id, async () => undefined).then(
        () => 'opened',
        ({ code }: { code: string }) => code,
      );
      expect(said, `we with the password ${id}`).to.equal(right ? 'opened' : 'permission');
    }
  }

  /** A password that opens the image. */
  #opener(): string {
    return this.#random.pick([...this.#passwords]);
  }

  #options(opener: string): string {
    if (this.#kind === 'luks') return `driver=luks,key-secret=${opener},file.filename=${this.#path}`;
    return `driver=qcow2,discard=unmap,encrypt.key-secret=${opener},file.filename=${this.#path}`;
  }

  #ourOptions(opener: string) {
    const file = { driver: 'file', filename: this.#path } as const;
    if (this.#kind === 'luks') return { driver: 'luks', 'key-secret': opener, file } as const;
    const format = this.#kind === 'aes' ? 'aes' : 'luks';
    return { driver: 'qcow2', encrypt: { format, 'key-secret': opener }, file } as const;
  }

  async #ours(opener: string, action: (image: Image) => Promise<unknown>): Promise<void> {
    const image = await this.#workspace.open(this.#ourOptions(opener));
    try {
      await action(image);
    } finally {
      await image.close();
    }
  }

  async #must(program: string, ...args: string[]): Promise<void> {
    const { code, stdout, stderr } = await outcomeOf(program, args, this.#shop.folder);
    if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}: ${stdout}${stderr}`);
  }
}
