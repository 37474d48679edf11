// Backing names that stand in images: where they may lead, and where not.

import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { expect } from 'chai';
import { Workshop } from '../support/cli.js';

/** Never followed, whoever asks. */
const NEVER: readonly string[] = [
  'null-co://',
  'json:{"driver":"null-co","size":65536}',
  'json:{"driver":"qcow2","file":{"driver":"null-co"}}',
  '/proc/self/mem',
  '/proc/self/environ',
  'file:/proc/self/environ',
  'json:{"driver":"raw","file":{"driver":"file","filename":"/proc/self/environ"}}',
  '/sys/kernel/mm/transparent_hugepage/enabled',
  '/dev/zero',
  '/dev/tty',
  'json:{"driver":"raw","file":{"driver":"host_device","filename":"/dev/zero"}}',
  './fifo',
  './folder',
  'fat:./folder',
  'json:{"driver":"vvfat","dir":"folder"}',
  './to-proc',
  'json:{"driver":"raw","file":"#block0"}',
];

/** Followed, but not with --untrusted. */
const TRUSTED: readonly string[] = [
  'folder/base',
  '../OUTSIDE/base',
  './out',
  'ABS/folder/base',
  'json:{"driver":"raw","file":{"driver":"file","filename":"ABS/folder/base"}}',
];

/** Followed also then. */
const OWN: readonly string[] = [
  'base',
  './base',
  'ABS/base',
  './in',
  'folder/../base',
  'json:{"driver":"raw","read-only":false,"file":{"driver":"file","filename":"base"}}',
  'json:{"driver":"raw","file":{"driver":"file","filename":"base","locking":"off"}}',
];

describe('names inside images', function () {
  this.timeout(60_000);
  let shop: Workshop;
  let outside: Workshop;

  before(async () => {
    shop = await Workshop.open();
    outside = await Workshop.open();
    mkdirSync(shop.path('folder'));
    for (const file of [shop.path('base'), shop.path('folder/base'), outside.path('base')]) {
      writeFileSync(file, Buffer.alloc(65536, 'data'));
    }
    symlinkSync('base', shop.path('in'));
    symlinkSync(outside.path('base'), shop.path('out'));
    symlinkSync('/proc/self/environ', shop.path('to-proc'));
    execFileSync('mkfifo', [shop.path('fifo')]);
  });
  after(() => {
    shop.remove();
    outside.remove();
  });

  function overlay(name: string): string {
    const placed = name.replace('ABS', shop.folder).replace('OUTSIDE', outside.folder.split('/').at(-1)!);
    shop.must('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', placed, '-F', 'raw', 'top', '64k');
    return placed;
  }

  it('are never followed to what is no image', () => {
    for (const [index, name] of NEVER.entries()) {
      overlay(name);
      // Each verb once.
      for (const words of [
        ['map', 'top'],
        ['info', '--backing-chain', 'top'],
        ['convert', 'top', 'copy'],
        ['commit', 'top'],
        ['stream', 'top'],
        ['nbd', '-r', '-k', shop.path('socket'), 'top'],
      ].filter((_, place) => place === index % 6 || place === 0)) {
        const { code, stderr } = shop.ours(...words);
        expect(code, `${words.join(' ')}: ${name}`).to.equal(1);
        expect(stderr, `${words.join(' ')}: ${name}`).to.match(
          /which is not opened|regular file|Invalid|not found|Cannot find|invalid seek|Is a directory|driver requires|specified twice|block device must be|does not support the option/,
        );
      }
    }
    expect(shop.ours('info', 'top').code).to.equal(0);
  });

  it('are followed to images elsewhere, but not with --untrusted', () => {
    for (const [index, name] of TRUSTED.entries()) {
      overlay(name);
      expect(shop.ours('map', 'top'), name).to.include({ code: 0, stderr: '' });
      for (const words of [
        ['map', '--untrusted', 'top'],
        ['convert', '--untrusted', 'top', 'copy'],
        ['info', '--untrusted', '--backing-chain', 'top'],
        ['commit', '--untrusted', 'top'],
        ['stream', '--untrusted', 'top'],
      ].filter((_, place) => place === index % 5)) {
        const { code, stderr } = shop.ours(...words);
        expect(code, `${words.join(' ')}: ${name}`).to.equal(1);
        expect(stderr, name).to.include('which is not opened: it is in another folder');
      }
    }
  });

  it('are followed in the own folder', () => {
    for (const name of OWN) {
      overlay(name);
      expect(shop.ours('map', '--untrusted', 'top'), name).to.include({ code: 0, stderr: '' });
      expect(shop.ours('info', '--untrusted', '--backing-chain', 'top'), name).to.include({ code: 0, stderr: '' });
    }
  });

  it('are shown and not obeyed where they have control characters', () => {
    overlay('gone\u001b[31m\n\u007f');
    const { stderr } = shop.ours('map', 'top');
    expect(stderr)
      .to.include("Could not open 'gone\\x1b[31m\\n\\x7f'")
      .and.to.match(/^[ -~]*\n$/);
    expect(shop.ours('info', 'top').stdout).to.equal(shop.qemuImg('info', 'top').stdout);
    const terminal = execFileSync('script', ['-qec', `'${process.execPath}' '${shop.bundle}' info top`, '/dev/null'], {
      cwd: shop.folder,
      encoding: 'latin1',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    expect(terminal).to.include('backing file: gone\\x1b[31m\\n\\x7f').and.not.to.include('\u001b');
  });
});

describe('null-co', () => {
  it('reads as zeroes, never as what was in memory before', async () => {
    const shop = await Workshop.open();
    writeFileSync(shop.path('secret'), Buffer.alloc(4 << 20, 'secret'));
    shop.ours(
      'convert',
      '-O',
      'raw',
      '-S',
      '0',
      'json:{"driver":"raw","file.driver":"null-co","file.size":4194304}',
      'copy',
    );
    shop.must('cmp', '-n', '4194304', 'copy', '/dev/zero');
    shop.remove();
  });
});
