/**
 * Turns Ctrl-C and SIGTERM into an abort, so that work can save what it did. A second one ends the process at once.
 *
 * @param doing What is done then, for the line that says so.
 */
export function onInterrupt(doing = 'Saving'): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const stop = (name: NodeJS.Signals): void => {
    if (controller.signal.aborted) process.exit(130);
    process.stderr.write(`\n${doing} (${name}; once more to stop at once) ...\n`);
    controller.abort(name);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return { signal: controller.signal, dispose: () => void process.off('SIGINT', stop).off('SIGTERM', stop) };
}
