// What the program says of itself by the name qemu-img.

import type { FormatNames } from './format-names.js';
import { QEMU_IMG } from './output.js';
import { VERBS, verbCalled } from './verb-table.js';
import { followedVersion } from './version.js';

/** `qemu-img --version`. */
export function qemuImgVersion(): string {
  return followedVersion(QEMU_IMG);
}

/** What `qemu-img --help` says, also where `--help` stands behind a verb. */
export async function qemuImgHelp({ each }: FormatNames): Promise<string> {
  const names = Object.keys(VERBS).filter((name) => VERBS[name].ofQemuImg);
  const lines: string[] = [];
  for (const name of names.sort()) {
    const { synopsis } = await verbCalled(name);
    lines.push(`  ${name} ${synopsis}`);
  }
  return `${qemuImgVersion()}usage: ${QEMU_IMG} [standard options] command [command options]

Standard options:
  -h, --help           show this help
  -V, --version        show the version
  -T, --trace=PATTERN  taken, and without effect: there are no trace events

Commands:
${lines.join('\n')}

"diskwright help COMMAND" explains a command. A command that is called by the
name ${QEMU_IMG} takes nothing that ${QEMU_IMG} does not have.

Supported formats: ${each.join(' ')}
`;
}
