// The end of a command that is over at once. Node would turn its event loop once more, collect garbage, wait for its threads and take its heap apart, which
// takes longer than to show a small image.

import { loadNative } from '../host/real/binding.js';
import { endProcess } from './end-process.js';
import { usesStreams } from './output.js';

let over = false;

/** All that the command has opened is closed, and nothing is under way in the background. */
export function allIsClosed(): void {
  over = true;
}

/** Ends the process with `code`, if nothing can be lost by that; otherwise returns, and node ends in its own way. */
export function leave(code: number): void {
  // Node's streams may have data left, and have changed the state of the terminal or pipe; profilers write their files at node's own end.
  const profiled = process.execArgv.length > 0 || process.env['NODE_OPTIONS'] || process.env['NODE_V8_COVERAGE'];
  if (!over || usesStreams() || profiled || !lookForRejections()) return;
  process.exitCode = code;
  process.emit('exit', code);
  // A listener may have changed it.
  endProcess(Number(process.exitCode), (last) => loadNative().leave(last));
}

/**
 * Has node report rejections that nobody handles, which ends the process, as it does where it returns to its event loop (that takes 3 ms more: V8's
 * own tasks run there). False where this node cannot be asked to.
 */
function lookForRejections(): boolean {
  const { _tickCallback: look } = process as { _tickCallback?: () => void };
  look?.();
  return look !== undefined;
}
