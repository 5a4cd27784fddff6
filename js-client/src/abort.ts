import { defaultMaxListeners, getMaxListeners, setMaxListeners } from "node:events";

/**
 * Calls `listener` when the signal fires; the returned function takes it back, which every call does when it
 * settles. Many calls may share a signal, so Node's warning about many listeners is put off for signals on
 * which the application has not set a limit of its own.
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  try {
    if (getMaxListeners(signal) === defaultMaxListeners) setMaxListeners(Number.POSITIVE_INFINITY, signal);
  } catch {
    // Not a signal of Node's own, or one without a limit: there is no warning to put off.
  }
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}
