// --help: every command explains each of its options, its exit codes and shows examples that are command lines of its own.

import { expect } from 'chai';
import { formatNames } from '../../src/cli/format-names.js';
import { parseOptions } from '../../src/cli/getopt.js';
import type { Verb } from '../../src/cli/verb.js';
import { verbHelp } from '../../src/cli/verb.js';
import { VERBS } from '../../src/cli/verb-table.js';
import { type Outcome, Workshop } from '../support/cli.js';

const GOLDEN_MAP = `usage: diskwright map [-f FMT | --image-opts] [-s OFFSET] [-l LEN]
                      [--output=FORMAT] [-U] FILENAME...

Lists the extents of an image: which ranges have data, which read as zeroes,
which are not allocated, which layer of the backing chain has them, and at which
offset of its file.

The human output lists data only, and fails where data is compressed. The JSON
output lists everything: "depth" is the number of layers above the one that has
the range, "present" is false where no layer has it. With several images, each
human output is preceded by the image name, and the JSON output is an array of
arrays. If one image cannot be opened or read, the others are still listed, and
its array ends with null. Of a single image that cannot be read to its end, what
was found before is printed, as by qemu-img: then the JSON has no end.

Options:
  -f, --format=FMT
      Format of the image: FORMATS. Without it the image is probed.
  --image-opts
      FILENAME is a string of options: driver=qcow2,file.filename=a.qcow2.
      Excludes -f.
  -s, --start-offset=OFFSET
      First byte (default 0).
  -l, --max-length=LEN
      Number of bytes at most.
  --output=FORMAT
      human (default) or json.
  -U, --force-share
      Read an image that another process writes to. The content that is read may
      be inconsistent.
  -h, --help
      Show this help and exit.
  --object=TYPE,id=ID,...
      Create an object that image options refer to: tls-creds-x509,
      tls-creds-psk or secret. May be given several times.
  --untrusted
      The images come from strangers: a backing file is opened only if it is a
      plain file in the folder of the image that names it.

Exit codes:
  0  done
  1  an image could not be opened or read, or the options are wrong

Examples:
  diskwright map disk.qcow2
      the extents with data, with their offsets in the file
  diskwright map --output=json -s 1G -l 64M disk.qcow2
      everything about 64 MiB of the image
`;

/** One more format changes the text, and the breaks of its lines. */
function withoutFormats(outcome: Outcome): Outcome {
  const stdout = outcome.stdout.replace(
    /Format of the image: raw, [^.]*\.\s+Without\s+it\s+the\s+image\s+is\s+probed\./,
    'Format of the image: FORMATS. Without it the image is probed.',
  );
  return { ...outcome, stdout };
}

async function load(name: string): Promise<Verb> {
  return (await VERBS[name].load()).verb;
}

describe('command line help', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  for (const name of Object.keys(VERBS)) {
    it(`${name} --help explains all options and exit codes, and its examples are right`, async () => {
      const verb = await load(name);
      expect(verb.name).to.equal(name);
      const text = verbHelp(verb, formatNames());
      expect(text).to.match(new RegExp(`^usage: diskwright ${name} `));
      expect(text.split('\n').filter((line) => line.length > 80)).to.deep.equal([]);
      for (const { short, long } of verb.options) {
        expect(text).to.include(short === undefined ? `--${long}` : `-${short}`);
      }
      expect(verb.notes?.map(([title]) => title)).to.include('Exit codes');
      expect(verb.examples).to.have.lengthOf.at.least(2);
      for (const [line] of verb.examples) {
        const words = line.split(/ \|\| | && /)[0].split(' ');
        expect(words.slice(0, 2)).to.deep.equal(['diskwright', name]);
        parseOptions(words.slice(2), verb.options);
      }
    });
  }

  it('continues an example that does not fit into a line, as a shell reads it', async () => {
    const verb = await load('daemon');
    const text = verbHelp(verb, formatNames()).replaceAll(/ \\\n +/g, ' ');
    for (const [line] of verb.examples) expect(text).to.include(`\n  ${line}\n`);
  });

  it('shows the same text wherever --help or -h stands', () => {
    expect(withoutFormats(shop.ours('map', '--help'))).to.deep.equal({ code: 0, stdout: GOLDEN_MAP, stderr: '' });
    expect(withoutFormats(shop.ours('map', 'gone', '-h')).stdout).to.equal(GOLDEN_MAP);
  });

  it('shows it for "help VERB", too, and the general help for "help"', () => {
    expect(withoutFormats(shop.ours('help', 'map'))).to.deep.equal({ code: 0, stdout: GOLDEN_MAP, stderr: '' });
    expect(shop.ours('help')).to.deep.equal(shop.ours('--help'));
  });

  it('takes --help behind -- as a file name', () => {
    expect(shop.ours('info', '--', '--help').stderr).to.include("Could not open '--help'");
  });

  it('lists every command in the general help', () => {
    const { code, stdout } = shop.ours('--help');
    expect(code).to.equal(0);
    expect([...stdout.matchAll(/^ {2}([a-z]+) {2,}\w/gm)].map(([, name]) => name)).to.have.members(Object.keys(VERBS));
    expect(stdout.split('\n').filter((line) => line.length > 80)).to.deep.equal([]);
    expect(stdout.replaceAll('\n', ' ')).to.match(
      /Formats: raw, qcow2, [a-z0-9, ]+ or [a-z0-9]+; read only: [a-z, ]+ or [a-z]+\. /,
    );
  });

  it('says version, engine and codecs', () => {
    expect(shop.ours('--version').stdout).to.match(
      /^diskwright version \d+\.\d+\.\d+\nengine: (io_uring|threads)\ncodecs: .*zlib.*zstd.*\nnode: v\d+/,
    );
  });

  it('says the same for programs', () => {
    const { code, stdout } = shop.ours('--version', '--json');
    const said = JSON.parse(stdout) as { version: string; engine: string; codecs: string[]; node: string };
    expect(code).to.equal(0);
    expect(shop.ours('--version').stdout).to.equal(
      `diskwright version ${said.version}\nengine: ${said.engine}\ncodecs: ${said.codecs.join(', ')}\nnode: ${said.node}\n`,
    );
  });
});
