// --help: every command explains each of its options, its exit codes and shows examples that are command lines of its own.

import { expect } from 'chai';
import { formatNames } from '../../src/cli/format-names.js';
import { parseOptions } from '../../src/cli/getopt.js';
import type { Verb } from '../../src/cli/verb.js';
import { verbHelp } from '../../src/cli/verb.js';
import { Workshop } from '../support/cli.js';

const NAMES = ['convert', 'create', 'info', 'map', 'check', 'compare', 'commit', 'stream', 'mirror', 'backup', 'nbd'];

const GOLDEN_MAP = `usage: diskwright map [-f FMT | --image-opts] [-s OFFSET] [-l LEN]
                      [--output=FORMAT] [-U] FILENAME...

Lists the runs of an image: which of its bytes hold data, which read as zeroes,
which are absent, in which layer of its backing chain that is decided and where
in the file they lie.

The human output lists data alone, and fails where data lies in the file in
another form (compressed). The JSON output lists everything: "depth" counts the
layers above the one that decides, "present" is false where no layer has
anything. Of several images, each output is preceded by the image name (human),
or is one array in an array (JSON). Where one cannot be opened or read, the
others are listed all the same, and its array ends with null.

Options:
  -f FMT
      Format of the image: raw or qcow2. Without it the image is probed.
  --image-opts
      FILENAME is a string of options: driver=qcow2,file.filename=a.qcow2.
      Excludes -f.
  -s, --start-offset=OFFSET
      Begin here (default 0).
  -l, --max-length=LEN
      Look at so many bytes at most.
  --output=FORMAT
      human (default) or json.
  -U, --force-share
      Read an image that another process writes to. What is read may not fit
      together.
  -h, --help
      Show this help and exit.
  --object=TYPE,id=ID,...
      Make an object that image options name: tls-creds-x509, tls-creds-psk or
      secret. May be given several times.
  --untrusted
      The images are from strangers: backing files are opened only where they
      are plain files in the folder of the image that names them.

Exit codes:
  0  done
  1  an image could not be opened or read, or the options are wrong

Examples:
  diskwright map disk.qcow2
      the runs of data, with their place in the file
  diskwright map --output=json -s 1G -l 64M disk.qcow2
      everything about 64 MiB of the image
`;

async function load(name: string): Promise<Verb> {
  return ((await import(`../../src/cli/verbs/${name}.js`)) as { verb: Verb }).verb;
}

describe('command line help', () => {
  let shop: Workshop;
  before(async () => {
    shop = await Workshop.open();
  });
  after(() => shop.remove());

  for (const name of NAMES) {
    it(`${name} --help explains all options and exit codes, and its examples are right`, async () => {
      const verb = await load(name);
      expect(verb.name).to.equal(name);
      const text = verbHelp(verb, formatNames());
      expect(text).to.match(new RegExp(`^usage: diskwright ${name} `));
      const tooWide = text.split('\n').filter((line) => line.length > 80 && !line.startsWith('  diskwright '));
      expect(tooWide).to.deep.equal([]);
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

  it('shows the same text wherever --help or -h stands', () => {
    expect(shop.ours('map', '--help')).to.deep.equal({ code: 0, stdout: GOLDEN_MAP, stderr: '' });
    expect(shop.ours('map', 'gone', '-h').stdout).to.equal(GOLDEN_MAP);
  });

  it('takes --help behind -- as a file name', () => {
    expect(shop.ours('info', '--', '--help').stderr).to.include("Could not open '--help'");
  });

  it('lists every command in the general help', () => {
    const { code, stdout } = shop.ours('--help');
    expect(code).to.equal(0);
    for (const name of NAMES) expect(stdout).to.match(new RegExp(`^ {2}${name} +\\w`, 'm'));
    expect(stdout.replaceAll('\n', ' ')).to.include('Formats: raw or qcow2. ');
  });

  it('says version, engine and codecs', () => {
    expect(shop.ours('--version').stdout).to.match(
      /^diskwright version \d+\.\d+\.\d+\nengine: (io_uring|threads)\ncodecs: .*zlib.*zstd.*\nnode: v\d+/,
    );
  });
});
