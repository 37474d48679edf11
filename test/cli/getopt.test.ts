// Options as getopt_long takes them.

import { expect } from 'chai';
import { type OptionSpec, parseOptions, UsageError } from '../../src/cli/getopt.js';

const SPECS: readonly OptionSpec[] = [
  { key: 'format', short: 'f', argument: 'FMT', help: '' },
  { key: 'share', short: 'U', long: 'force-share', help: '' },
  { key: 'output', long: 'output', argument: 'FORMAT', help: '' },
  { key: 'object', long: 'object', argument: 'X', help: '', refused: true },
];

function parse(...args: string[]) {
  return parseOptions(args, SPECS);
}

function refusal(...args: string[]): { message: string; hint: boolean } {
  try {
    parse(...args);
  } catch (error) {
    expect(error).to.be.instanceOf(UsageError);
    const { message, hint } = error as UsageError;
    return { message, hint };
  }
  throw new Error('it was accepted');
}

describe('command line options', () => {
  for (const args of [['-f', 'raw'], ['-fraw'], ['-Ufraw'], ['-U', '-f', 'raw', '--force-share']]) {
    it(`reads ${args.join(' ')}`, () => expect(parse(...args).get('format')).to.equal('raw'));
  }

  it('reads a long option with its argument behind = or behind a blank', () => {
    expect(parse('--output=json').get('output')).to.equal('json');
    expect(parse('--output', 'json').get('output')).to.equal('json');
    expect(parse('--output=').get('output')).to.equal('');
  });

  it('takes options after names, and the last of several values', () => {
    const options = parse('a', '-f', 'raw', 'b', '-f', 'qcow2');
    expect(options.positional).to.deep.equal(['a', 'b']);
    expect(options.get('format')).to.equal('qcow2');
    expect(options.all('format')).to.deep.equal(['raw', 'qcow2']);
  });

  it('takes everything behind -- as names, and a single dash too', () => {
    expect(parse('-', '--', '-f', '--output').positional).to.deep.equal(['-', '-f', '--output']);
  });

  it('takes an argument that looks like an option', () => {
    expect(parse('-f', '-U').get('format')).to.equal('-U');
  });

  const unknown: [string[], string][] = [
    [['-z'], "unrecognized option '-z'"],
    [['-Uz'], "unrecognized option '-z'"],
    [['--outpu=json'], "unrecognized option '--outpu=json'"],
    [['--force-share=on'], "unrecognized option '--force-share=on'"],
    [['-f'], "missing argument for option '-f'"],
    [['--output'], "missing argument for option '--output'"],
  ];
  for (const [args, message] of unknown) {
    it(`refuses ${args.join(' ')} and points at the help`, () => {
      expect(refusal(...args)).to.deep.equal({ message, hint: true });
    });
  }

  it('refuses by name what qemu-img has and Diskwright has not', () => {
    expect(refusal('--object', 'secret')).to.deep.equal({
      message: "option '--object' is not supported yet",
      hint: false,
    });
  });
});
