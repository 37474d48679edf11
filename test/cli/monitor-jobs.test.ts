// `diskwright jobs`: lists, steers and follows the jobs of our daemon and of qemu-storage-daemon.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { expect } from 'chai';
import type { JobView } from '../../src/cli/jobs/sample.js';
import { jobLines, jobObjects } from '../../src/cli/jobs/show.js';
import type { BlockJobInfo, JobInfo } from '../../src/schema/generated/types.js';
import { type Outcome, Workshop } from '../support/cli.js';
import { diedBy } from '../support/ended.js';
import { type Json, StorageDaemon } from '../support/qmp.js';

const MiB = 1024 * 1024;

// biome-ignore lint/suspicious/noControlCharactersInRegex: it is what sets a colour.
const COLOR = /\x1b\[\d+m/g;

/** The lines that are left on a screen where some are cleared, from a number of lines above the cursor on. */
function standing(screen: string): string[] {
  const lines: string[] = [];
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what clears them.
  for (const [part, up] of screen.matchAll(/\x1b\[(\d+)A\r\x1b\[J|(?:[^\x1b]|\x1b\[\d+m)*?\r\n/g)) {
    // A message of an error is red.
    if (up === undefined) lines.push(part.replaceAll(COLOR, '').trimEnd());
    else lines.splice(-Number(up));
  }
  return lines;
}

for (const [name, ours] of [
  ['diskwright daemon', true],
  ['qemu-storage-daemon', false],
] as const) {
  describe(`diskwright jobs with ${name}`, () => {
    let shop: Workshop;
    let daemon: StorageDaemon;

    beforeEach(async () => {
      shop = await Workshop.open();
      const words = ['--chardev', `socket,id=second,path=${shop.path('m')},server=on,wait=off`, '--monitor', 'second'];
      for (const node of ['a', 'b', 'c', 'd']) {
        words.push('--blockdev', JSON.stringify({ driver: 'null-co', 'node-name': node, size: 64 * MiB }));
      }
      const program = ours ? [process.execPath, shop.bundle, 'daemon'] : ['qemu-storage-daemon'];
      daemon = await StorageDaemon.start(shop.path('qmp'), words, program);
    });
    afterEach(() => {
      daemon.kill();
      shop.remove();
    });

    /** A mirror that takes a minute, unless its speed is changed. */
    async function mirror(id: string, device: string, target: string, more: Json = {}): Promise<void> {
      const words = { 'job-id': id, device, target, sync: 'full', speed: MiB, granularity: 65536, 'buf-size': 65536 };
      await daemon.execute('blockdev-mirror', { ...words, ...more });
    }

    async function status(id: string, wanted: string): Promise<void> {
      for (;;) {
        const data = await daemon.event('JOB_STATUS_CHANGE');
        if (data['id'] === id && data['status'] === wanted) return;
      }
    }

    const jobs = (...words: string[]) => shop.ours('jobs', '-m', 'm', ...words);

    it('says that there are none', () => {
      expect(jobs()).to.deep.equal({ code: 0, stdout: 'No jobs.\n', stderr: '' });
      expect(JSON.parse(jobs('--json').stdout)).to.deep.equal([]);
      expect(jobs('--follow')).to.deep.equal({ code: 0, stdout: 'No jobs.\n', stderr: '' });
    });

    it('lists each with a bar, its rate and the remaining time, the oldest first', async () => {
      await mirror('first', 'a', 'b');
      await mirror('b2', 'c', 'd');
      const { stdout, stderr } = jobs();
      expect(stderr).to.equal('');
      const lines = stdout.trimEnd().split('\n');
      expect(lines).to.have.lengthOf(2);
      expect(lines[0]).to.match(/^first {2}mirror {2}running {2}\[[=> ]+\] {3}\d% {2}.* of 64 MiB .*limit 1 MiB\/s$/);
      expect(lines[1]).to.match(/^b2 {5}mirror {2}running /);
    });

    it('lists them for programs, in the members of query-jobs', async () => {
      await mirror('m', 'a', 'b');
      const [job] = JSON.parse(jobs('--json').stdout) as Json[];
      expect(job).to.include({ id: 'm', type: 'mirror', status: 'running', speed: MiB, 'io-status': 'ok' });
      expect(job['total-progress']).to.equal(64 * MiB);
      expect(job).to.have.keys(
        ...['id', 'type', 'status', 'current-progress', 'total-progress', 'percent'],
        ...['bytes-per-second', 'eta-seconds', 'speed', 'io-status'],
      );
    });

    it('pauses, resumes, sets the speed, completes', async () => {
      await mirror('m', 'a', 'b');
      expect(jobs('pause', 'm')).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      await status('m', 'paused');
      expect(jobs().stdout).to.match(/^m {2}mirror {2}paused /);
      expect(jobs('resume', 'm').code).to.equal(0);
      expect(jobs('set-speed', 'm', '1G').code).to.equal(0);
      await status('m', 'ready');
      expect(jobs().stdout).to.match(/^m {2}mirror {2}ready .*100%/);
      const { code, stdout } = jobs('--follow', 'complete', 'm');
      expect(code).to.equal(0);
      expect(stdout.split('\n')).to.include.members(['m  waiting', 'm  concluded']);
      await status('m', 'null');
    });

    it('finalizes and dismisses', async () => {
      await mirror('m', 'a', 'b', { speed: 0, 'auto-finalize': false, 'auto-dismiss': false });
      await status('m', 'ready');
      jobs('complete', 'm');
      await status('m', 'pending');
      expect(jobs('finalize', 'm').code).to.equal(0);
      await status('m', 'concluded');
      expect(jobs('dismiss', 'm').code).to.equal(0);
      await status('m', 'null');
    });

    it('cancels, a paused one by force', async () => {
      await mirror('m', 'a', 'b');
      jobs('pause', 'm');
      await status('m', 'paused');
      const said = "diskwright: The block job for device 'm' is currently paused\n";
      expect(jobs('cancel', 'm')).to.include({ code: 1, stderr: said });
      expect(jobs('cancel', 'm', '--force').code).to.equal(0);
      await status('m', 'null');
    });

    it('sends a command of QMP, prints what it returns, and nothing where that is nothing', async () => {
      const m = { 'job-id': 'm', device: 'a', target: 'b', sync: 'full', speed: MiB, granularity: 65536 };
      expect(jobs('execute', 'blockdev-mirror', JSON.stringify(m))).to.deep.equal({ code: 0, stdout: '', stderr: '' });
      const [job] = JSON.parse(jobs('execute', 'query-jobs').stdout) as Json[];
      expect(job).to.include({ id: 'm', type: 'mirror', status: 'running' });
      const { code, stdout, stderr } = jobs('execute', 'job-pause', '{"id": "x"}');
      expect({ code, stdout, stderr }).to.deep.equal({ code: 1, stdout: '', stderr: 'diskwright: Job not found\n' });
    });

    it('starts a job and follows it to its end, whose outcome is the exit code', () => {
      const start = (more: Json): Outcome => {
        return jobs('--follow', 'execute', 'block-stream', JSON.stringify({ 'job-id': 'k', device: 'a', ...more }));
      };
      const { code, stdout, stderr } = start({});
      expect({ code, stderr }).to.deep.equal({ code: 0, stderr: '' });
      expect(stdout.split('\n')).to.include.members(['k  created', 'k  running', 'k  concluded']);
      expect(start({ device: 'x' })).to.include({ code: 1, stdout: '' });
    });

    it("gives the monitor's own words for what is refused", () => {
      expect(jobs('pause', 'x')).to.deep.equal({ code: 1, stdout: '', stderr: 'diskwright: Job not found\n' });
      expect(jobs('cancel', 'x')).to.include({ code: 1, stderr: 'diskwright: Job not found\n' });
    });

    it('follows until all have ended, and fails where one was cancelled', async () => {
      await mirror('m', 'a', 'b');
      await mirror('n', 'c', 'd');
      const child = spawn(process.execPath, [shop.bundle, 'jobs', '-m', shop.path('m'), '--follow']);
      const lines: string[] = [];
      const read = createInterface({ input: child.stdout });
      const listed = new Promise<void>((resolve) =>
        read.on('line', (line) => {
          lines.push(line);
          if (lines.length === 2) resolve();
        }),
      );
      let errors = '';
      child.stderr.on('data', (text) => {
        errors += text;
      });
      await listed;
      await daemon.execute('block-job-cancel', { device: 'n' });
      await daemon.execute('block-job-set-speed', { device: 'm', speed: 0 });
      await status('m', 'ready');
      await daemon.execute('job-complete', { id: 'm' });
      const [code] = await once(child, 'close');
      expect(lines).to.include.members(['m  ready', 'm  concluded', 'n  concluded']);
      expect(errors).to.equal("diskwright: job 'n': cancelled\n");
      expect(code).to.equal(1);
    });

    it('leaves on a terminal a line for each job that has completed, and says which has not', async () => {
      await mirror('m', 'a', 'b');
      await mirror('n', 'c', 'd');
      const command = `'${process.execPath}' '${shop.bundle}' jobs -m '${shop.path('m')}' --follow`;
      const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
      let screen = '';
      const drawn = new Promise<void>((resolve) =>
        child.stdout.on('data', (text) => {
          screen += text;
          if (screen.includes('n  mirror  running')) resolve();
        }),
      );
      const closed = once(child, 'close');
      await drawn;
      await daemon.execute('block-job-cancel', { device: 'n' });
      await daemon.execute('block-job-set-speed', { device: 'm', speed: 0 });
      await status('m', 'ready');
      await daemon.execute('job-complete', { id: 'm' });
      expect(await closed).to.deep.equal([1, null]);
      expect(standing(screen)).to.deep.equal(['m  completed', "diskwright: job 'n': cancelled"]);
    });

    it('follows for programs, one object a line; an interrupt ends it, and no job', async () => {
      await mirror('m', 'a', 'b');
      const child = spawn(process.execPath, [shop.bundle, 'jobs', '-m', shop.path('m'), '--follow', '--json']);
      const ended = once(child, 'exit');
      const objects: { jobs: Json[] }[] = [];
      for await (const line of createInterface({ input: child.stdout })) {
        objects.push(JSON.parse(line) as { jobs: Json[] });
        if (objects.length === 3) child.kill('SIGINT');
      }
      expect(await ended).to.deep.equal(diedBy('SIGINT'));
      expect(objects.every(({ jobs: [job] }) => job['id'] === 'm')).to.equal(true);
      expect(await daemon.execute('query-jobs')).to.have.lengthOf(1);
    });

    it('fails where the process goes while a job that is followed has not ended', async () => {
      await mirror('m', 'a', 'b');
      const child = spawn(process.execPath, [shop.bundle, 'jobs', '-m', shop.path('m'), '--follow', '--json']);
      let errors = '';
      child.stderr.on('data', (text) => {
        errors += text;
      });
      const closed = once(child, 'close');
      await once(createInterface({ input: child.stdout }), 'line');
      daemon.kill();
      expect(await closed).to.deep.equal([1, null]);
      expect(errors).to.equal(`diskwright: unix:${shop.path('m')}: the connection to the monitor has ended\n`);
    });
  });
}

describe('diskwright jobs: execute', () => {
  it('refuses words that are no command before it connects', async () => {
    const shop = await Workshop.open();
    try {
      for (const [words, message] of [
        [['execute'], 'execute needs the name of a QMP command'],
        [['execute', 'stop', '[]'], `the arguments of the command must be a JSON object: '{"device": "disk"}'`],
        [['execute', 'stop', '{}', '{}'], 'too many words for execute: the arguments are one JSON object'],
        [['execute', 'stop', '--force'], '--force is for cancel only'],
        [['execute', 'stop', '--json'], '--json is for lists of jobs: use --follow with it'],
      ] as const) {
        const { code, stderr } = shop.ours('jobs', '-m', 'm', ...words);
        expect({ code, said: stderr.split('\n')[0] }).to.deep.equal({ code: 1, said: `diskwright: ${message}` });
      }
      expect(shop.ours('jobs', '-m', 'm', 'execute', 'stop', 'x').stderr).to.match(
        /^diskwright: the arguments of the command are no JSON: /,
      );
    } finally {
      shop.remove();
    }
  });
});

describe('diskwright jobs: a monitor that does not answer', () => {
  for (const [more, said] of [
    [[], 'diskwright: Interrupted. The command was sent, and its answer is not known.\n'],
    [['--follow'], ''],
  ] as const) {
    it(`a signal ends ${['execute', ...more].join(' ')} at once`, async () => {
      const shop = await Workshop.open();
      let sent = (): void => undefined;
      const command = new Promise<void>((resolve) => {
        sent = resolve;
      });
      const server = createServer((socket) => {
        socket.on('error', () => undefined);
        socket.write(
          '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}\r\n',
        );
        createInterface({ input: socket }).on('line', (line) => {
          const { execute, id } = JSON.parse(line) as Json;
          if (execute === 'qmp_capabilities') socket.write(`${JSON.stringify({ return: {}, id })}\r\n`);
          else sent();
        });
      });
      await once(server.listen(shop.path('m')), 'listening');
      try {
        const words = ['jobs', '-m', shop.path('m'), ...more, 'execute', 'stop'];
        const child = spawn(process.execPath, [shop.bundle, ...words]);
        let errors = '';
        child.stderr.on('data', (text) => {
          errors += text;
        });
        await command;
        child.kill('SIGINT');
        expect(await once(child, 'close')).to.deep.equal(diedBy('SIGINT'));
        expect(errors).to.equal(said);
      } finally {
        server.close();
        shop.remove();
      }
    });
  }
});

describe('diskwright jobs: lines', () => {
  it('fit the terminal, and print what a stranger calls a job as it can be printed', () => {
    const info = {
      id: 'a\x1b[2J',
      type: 'mirror',
      status: 'running',
      'current-progress': 1,
      'total-progress': 2,
    } as const;
    const job = { info, block: undefined, bytesPerSecond: 1024, etaMs: 1000 };
    expect(jobLines([job])[0]).to.match(/^a\\x1b\[2J {2}mirror {2}running {2}\[=+> +\] {2}50%/);
    for (const columns of [20, 40, 80, 200]) expect(jobLines([job], columns)[0]).to.have.length.below(columns);
  });

  it('are cut between their parts where the terminal is narrow: an id loses its middle, and the bars stay alike', () => {
    const done = { 'current-progress': 1 << 26, 'total-progress': 1 << 27 };
    const block = { speed: 50 * MiB, 'io-status': 'ok' } as BlockJobInfo;
    const view = { block, bytesPerSecond: undefined, etaMs: undefined };
    const long = { id: `first-${'x'.repeat(50)}-last`, type: 'backup', status: 'running', ...done } as const;
    const list: JobView[] = [
      { ...view, info: { id: 'm', type: 'mirror', status: 'ready', ...done } },
      { ...view, info: long, bytesPerSecond: 3e6, etaMs: 9000 },
    ];
    expect(jobLines(list)[1].startsWith(long.id)).to.equal(true);
    for (let columns = 60; columns < 200; columns++) {
      const lines = jobLines(list, columns);
      for (const line of lines) {
        expect(line).to.have.length.below(columns);
        expect(line).to.match(
          /%( {2}64 MiB of 128 MiB( {2}2.86 MiB\/s)?( {2}0:09| {2}waits for complete)?( {2}limit 50 MiB\/s)?)?$/,
        );
      }
      expect(lines[1]).to.match(/^first-?x*(\.\.\.)?x*-?last {2}backup {2}running/);
      expect(new Set(lines.map((line) => line.indexOf(']'))).size).to.equal(1);
    }
  });

  it('say which verb a job waits for, and why it has failed rather than how far it came', () => {
    const done = { 'current-progress': 1, 'total-progress': 2 };
    const view = { block: undefined, bytesPerSecond: undefined, etaMs: undefined };
    const waiting = (status: JobInfo['status']) =>
      jobLines([{ ...view, info: { id: 'm', type: 'mirror', status, ...done } }])[0];
    expect(waiting('ready')).to.match(/waits for complete$/);
    expect(waiting('standby')).to.match(/waits for resume$/);
    expect(waiting('paused')).to.match(/waits for resume$/);
    expect(waiting('pending')).to.match(/waits for finalize$/);
    expect(waiting('concluded')).to.match(/waits for dismiss$/);
    const block = { speed: 0, 'io-status': 'ok', 'auto-finalize': true, 'auto-dismiss': true } as BlockJobInfo;
    for (const status of ['pending', 'concluded'] as const) {
      const passing = { ...view, block, info: { id: 'm', type: 'mirror', status, ...done } } as const;
      expect(jobLines([passing])[0]).to.not.include('waits');
    }
    for (const status of ['running', 'waiting', 'aborting'] as const) expect(waiting(status)).to.not.include('waits');
    const info = { id: 'm', type: 'mirror', status: 'concluded', ...done, error: 'No space left on device' } as const;
    expect(jobLines([{ ...view, info }], 50)[0]).to.equal('m  mirror  concluded  No space left on device  wa');
  });

  it('have no rate where none is known', () => {
    const info = { id: 'a', type: 'create', status: 'concluded', 'current-progress': 0, 'total-progress': 0 } as const;
    const job = { info, block: undefined, bytesPerSecond: undefined, etaMs: undefined };
    expect(jobObjects([job])[0]).to.deep.equal({
      ...info,
      percent: 100,
      'bytes-per-second': null,
      'eta-seconds': null,
    });
  });
});

describe('diskwright jobs: command line', () => {
  let shop: Workshop;

  before(async () => {
    shop = await Workshop.open();
    writeFileSync(shop.path('plain'), '');
    // A socket of a process that has ended.
    shop.must('python3', '-c', "import socket; socket.socket(socket.AF_UNIX).bind('dead')");
  });
  after(() => shop.remove());

  const CASES: readonly (readonly [words: readonly string[], said: RegExp])[] = [
    [[], /where is the monitor\? Use -m PATH/],
    [['-m', 'nowhere'], /Failed to connect to '.*\/nowhere': No such file or directory/],
    [
      ['-m', '.'],
      /^diskwright: Failed to connect to '.*': Connection refused: it is a directory, not the socket of a monitor\n$/,
    ],
    [['-m', 'plain'], /Connection refused: it is not a socket\n$/],
    [['-m', 'dead'], /Connection refused: no process listens there\n$/],
    [['-m', 'tcp:127.0.0.1:1'], /Connection refused: no process listens there\n$/],
    [['-m', 'tcp:4444'], /a TCP address is tcp:HOST:PORT/],
    [['-m', 'tcp:h:0'], /a port is a number from 1 to 65535/],
    [
      ['-m', 'm', 'frob', 'x'],
      /'frob' is none of pause, resume, complete, finalize, dismiss, cancel, set-speed and execute/,
    ],
    [['-m', 'm', 'pause'], /pause needs the id of a job/],
    [['-m', 'm', 'pause', 'x', 'y'], /too many words for pause/],
    [['-m', 'm', 'set-speed', 'x'], /set-speed needs an id and bytes per second/],
    [['-m', 'm', 'set-speed', 'x', 'fast'], /Invalid rate limit specified/],
    [['-m', 'm', 'pause', 'x', '--force'], /--force is for cancel only/],
    [['-m', 'm', '--force'], /--force is for cancel only/],
    [['-m', 'm', '--json', 'pause', 'x'], /--json is for lists of jobs: use --follow with it/],
  ];
  for (const [words, said] of CASES) {
    it(`refuses: jobs ${words.join(' ')}`, () => {
      const { code, stderr } = shop.ours('jobs', ...words);
      expect(stderr).to.match(said);
      expect(code).to.equal(1);
    });
  }
});
