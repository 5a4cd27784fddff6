import { debuglog } from "node:util";

/** Prints to stderr with `NODE_DEBUG=mlx-worker`. */
export const debug: (message: string, ...args: readonly unknown[]) => void = debuglog("mlx-worker");

/**
 * Calls a listener of the application. What it throws becomes a process warning: it must neither stop the
 * stream that called it nor be lost.
 */
export function notify<T>(listener: ((value: T) => void) | undefined, value: T): void {
  try {
    listener?.(value);
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : new Error(String(error)));
  }
}
