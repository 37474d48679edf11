// `diskwright check`: checks whether the metadata of an image is consistent.

import type { CheckResult, RepairKind, RepairResult } from '../../block/abilities.js';
import type { CheckFinding } from '../../block/finding.js';
import { findingText } from '../../block/finding-text.js';
import type { ImageCheck } from '../../schema/generated/types.js';
import { toBlockError } from '../../util/errors.js';
import { checkImage, fixedBy, repairImage } from '../../workspace/check.js';
import type { ImageOpener } from '../../workspace/open.js';
import {
  BY_SIGNAL,
  cacheMode,
  checkedOption,
  FORCE_SHARE,
  HELP,
  IMAGE_OPTS,
  LONG_FORMAT,
  OBJECT,
  OUTPUT,
  outputFormat,
  QUIET,
  SOURCE_CACHE,
  someImages,
} from '../arguments.js';
import { BreakOff } from '../break-off.js';
import { type ParsedOptions, UsageError } from '../getopt.js';
import { prettyJson } from '../json.js';
import { reportError, shown, twoDecimals, write, writeMessage } from '../output.js';
import {
  forEachImage,
  type ImageArguments,
  imageArguments,
  ONE_BY_ONE,
  opener,
  reasonWithFile,
  type Session,
  withSession,
} from '../session.js';
import type { Verb } from '../verb.js';

/** A check that takes so long says, where a signal ends it, that the image was only read; listening to signals takes time at the start. */
const LONG_MS = 200;

const EXIT_FAILED = 1;
const EXIT_CORRUPT = 2;
const EXIT_LEAKS = 3;
const EXIT_UNSUPPORTED = 63;
/** Exit codes, the worst first: for several images, the worst one is returned. */
const SEVERITY = [EXIT_FAILED, EXIT_CORRUPT, EXIT_LEAKS, EXIT_UNSUPPORTED, 0];

const REPAIRS = ['leaks', 'all'] as const satisfies readonly RepairKind[];

export const verb: Verb = {
  name: 'check',
  synopsis: '[-f FMT | --image-opts] [--output=FORMAT] [-r leaks|all | --data] [-T CACHE] [-q] [-U] FILENAME...',
  description:
    'Reads all metadata of an image and checks that it is consistent: of qcow2, that the refcount of every cluster is the number of its references; of other formats, that ' +
    'what their tables point to lies in the file, and belongs to one entry alone. Findings ' +
    'go to standard error, one per line. The image is not changed without -r.\n\n' +
    'Leaked clusters waste disk space and do no harm. Any other finding means that data may be wrong, or may be overwritten by the next write.\n\n' +
    'With -r, what is found is repaired, and the image is checked again: what is reported then, and the exit code, are of the image after the repair. ' +
    '"leaks" gives lost space back. "all" also corrects refcounts, or makes all of them anew, tables and their entries. What could not be read reads as ' +
    'zeroes afterwards; nothing that could be read is lost. A repair that is cut off can be done again.\n\n' +
    'With several images, each human output is preceded by the image name and the JSON output is an array; the exit code is the worst.',
  options: [
    LONG_FORMAT,
    IMAGE_OPTS,
    OUTPUT,
    SOURCE_CACHE,
    QUIET,
    FORCE_SHARE,
    HELP,
    {
      key: 'repair',
      short: 'r',
      long: 'repair',
      argument: 'KIND',
      values: REPAIRS,
      help: 'Repair "leaks" or "all".',
    },
    {
      key: 'data',
      long: 'data',
      own: true,
      help: 'Reads all data instead, and compares it with the checksums that the image has of it (dmg). Excludes -r.',
    },
    OBJECT,
  ],
  notes: [
    [
      'Exit codes',
      [
        '0    the image is consistent',
        '1    the check could not be completed, or the options are wrong',
        '2    the image is corrupt',
        '3    the image has leaked clusters, but is not corrupt',
        '63   the format has no checks (raw, vpc, qcow, ...), or no checksums of its data',
        BY_SIGNAL,
      ].join('\n'),
    ],
  ],
  examples: [
    ['diskwright check disk.qcow2', 'findings, and how much of the image is allocated and fragmented'],
    ['diskwright check -q disk.qcow2 || echo "look at it"', 'in a script'],
    ['diskwright check -r all disk.qcow2', 'repairs what is found'],
    ['diskwright check --data image.dmg', 'whether a download is whole'],
  ],
  run,
};

interface Outcome {
  exitCode: number;
  report?: ImageCheck;
}

async function run(options: ParsedOptions): Promise<number> {
  const repair = repairKind(options);
  const data = options.has('data');
  if (data && repair !== undefined) throw new UsageError('--data and -r exclude each other', true);
  const images = someImages(options);
  const json = outputFormat(options) === 'json';
  const quiet = options.has('quiet');
  const cache = cacheMode(options, 'source-cache', 'source cache', 'writeback');
  const how = { ...imageArguments(options), cache };
  const several = images.length > 1;
  const reports: object[] = [];
  return withSession(
    options.all('object'),
    async (session) => {
      const codes = await forEachImage(images, async (image, index) => {
        if (several && !json && !quiet) write(`${index === 0 ? '' : '\n'}${shown(image)}:\n`);
        const { exitCode, report } = await checkOne(session, image, how, { json, quiet, repair, data });
        if (report !== undefined) reports.push(jsonReport(report));
        return exitCode;
      });
      if (json && !quiet) {
        if (several) write(`${prettyJson(reports)}\n`);
        else if (reports.length > 0) write(`${prettyJson(reports[0])}\n`);
      }
      return SEVERITY.find((code) => codes.includes(code)) ?? 0;
    },
    ONE_BY_ONE,
  );
}

function repairKind(options: ParsedOptions): RepairKind | undefined {
  return checkedOption(options, 'repair', (kind) => {
    const found = REPAIRS.find((one) => one === kind);
    if (found !== undefined) return found;
    throw new UsageError(`Unknown option value for -r (expecting 'leaks' or 'all'): ${kind}`, true);
  });
}

async function checkOne(
  session: Session,
  image: string,
  how: ImageArguments,
  { json, quiet, repair, data }: { json: boolean; quiet: boolean; repair: RepairKind | undefined; data: boolean },
): Promise<Outcome> {
  let opened = false;
  const access = repair === undefined ? {} : { writable: true, forRepair: true };
  const open: ImageOpener = async (name, layer) => {
    const node = await opener(session, how)(name, { ...layer, ...access });
    opened = true;
    return node;
  };
  const state =
    repair === undefined ? 'was only read' : 'may be repaired in part: run the same command again to continue';
  const interrupt = new BreakOff(`'${shown(image)}' ${state}.`, { afterMs: repair === undefined ? LONG_MS : 0 });
  const checked = async () => {
    if (repair === undefined) {
      return checkImage(session.graph, image, how, findingPrinter(), open, data ? 'checkData' : 'check');
    }
    const repaired = (result: RepairResult): void => {
      if (!json && !quiet) write(repairReport(fixedBy(result)));
    };
    const { format, result } = await repairImage(session.graph, image, repair, how, findingPrinter(), repaired, open);
    return { format, result: result.after, fixed: fixedBy(result) };
  };
  try {
    const { format, result, fixed } = await checked();
    if (!json && !quiet) write(humanReport(result));
    if (result.checkErrors > 0) reportError('Check failed');
    return { exitCode: exitCodeOf(result), report: imageCheck(image, format, result, fixed) };
  } catch (error) {
    if (!opened) throw error;
    const failure = toBlockError(error);
    const unsupported = failure.code === 'unsupported';
    reportError(unsupported ? failure.reason : `Check failed: ${reasonWithFile(failure)}`);
    return { exitCode: unsupported ? EXIT_UNSUPPORTED : EXIT_FAILED };
  } finally {
    interrupt.stop();
  }
}

/** Returns a function that prints findings as they come. QEMU's message about an unaligned refcount block is printed for the first one only. */
function findingPrinter(): (finding: CheckFinding, format: string) => void {
  const unaligned = new Set<number>();
  let damaged = false;
  return (finding, format) => {
    const { kind, table, index, hostOffset } = finding;
    if (kind === 'unaligned' && table === 'refcount-table' && index !== undefined) unaligned.add(index);
    if (kind === 'refcount-unreadable' && !damaged && index !== undefined && unaligned.has(index)) {
      damaged = true;
      const offset = typeof hostOffset === 'number' ? `0x${hostOffset.toString(16)}` : hostOffset;
      writeMessage(
        `${format}: Image is corrupt: Refblock offset ${offset} unaligned (reftable index: ${index}); ` +
          'further non-fatal corruption events will be suppressed',
      );
    }
    writeMessage(findingText(finding));
  };
}

function exitCodeOf(result: CheckResult): number {
  if (result.checkErrors > 0) return EXIT_FAILED;
  if (result.corruptions > 0) return EXIT_CORRUPT;
  return result.leaks > 0 ? EXIT_LEAKS : 0;
}

/** The result as QAPI's `ImageCheck`; a member that is 0 is left out. */
function imageCheck(
  filename: string,
  format: string,
  result: CheckResult,
  fixed?: ReturnType<typeof fixedBy>,
): ImageCheck {
  const some = (value: number): number | undefined => (value === 0 ? undefined : value);
  return {
    filename,
    format,
    'check-errors': result.checkErrors,
    'image-end-offset': some(result.imageEndOffset),
    corruptions: some(result.corruptions),
    leaks: some(result.leaks),
    'leaks-fixed': some(fixed?.leaksFixed ?? 0),
    'corruptions-fixed': some(fixed?.corruptionsFixed ?? 0),
    'total-clusters': some(result.totalClusters),
    'allocated-clusters': some(result.allocatedClusters),
    'fragmented-clusters': some(result.fragmentedClusters),
    'compressed-clusters': some(result.compressedClusters),
  };
}

/** The report with its members in the order of qemu-img's JSON. */
function jsonReport(report: ImageCheck): object {
  return {
    'image-end-offset': report['image-end-offset'],
    'compressed-clusters': report['compressed-clusters'],
    'total-clusters': report['total-clusters'],
    corruptions: report.corruptions,
    'corruptions-fixed': report['corruptions-fixed'],
    'check-errors': report['check-errors'],
    'leaks-fixed': report['leaks-fixed'],
    leaks: report.leaks,
    'allocated-clusters': report['allocated-clusters'],
    filename: report.filename,
    format: report.format,
    'fragmented-clusters': report['fragmented-clusters'],
  };
}

/** The report between a repair and the check after it. */
function repairReport({ leaksFixed, corruptionsFixed }: ReturnType<typeof fixedBy>): string {
  if (leaksFixed + corruptionsFixed === 0) return '';
  return (
    'The following inconsistencies were found and repaired:\n\n' +
    `    ${leaksFixed} leaked clusters\n    ${corruptionsFixed} corruptions\n\n` +
    'Double checking the fixed image now...\n'
  );
}

function humanReport(result: CheckResult): string {
  const { corruptions, leaks, checkErrors, totalClusters, allocatedClusters } = result;
  let text = '';
  if (corruptions === 0 && leaks === 0 && checkErrors === 0) text += 'No errors were found on the image.\n';
  if (corruptions > 0) {
    text +=
      `\n${corruptions} errors were found on the image.\n` +
      'Data may be corrupted, or further writes to the image may corrupt it.\n';
  }
  if (leaks > 0) {
    text +=
      `\n${leaks} leaked clusters were found on the image.\n` +
      'This means waste of disk space, but no harm to data.\n';
  }
  if (checkErrors > 0) text += `\n${checkErrors} internal errors have occurred during the check.\n`;
  if (totalClusters > 0 && allocatedClusters > 0) {
    const share = (part: number, whole: number): string => `${twoDecimals((part * 100) / whole)}%`;
    text +=
      `${allocatedClusters}/${totalClusters} = ${share(allocatedClusters, totalClusters)} allocated, ` +
      `${share(result.fragmentedClusters, allocatedClusters)} fragmented, ` +
      `${share(result.compressedClusters, allocatedClusters)} compressed clusters\n`;
  }
  if (result.imageEndOffset > 0) text += `Image end offset: ${result.imageEndOffset}\n`;
  return text;
}
