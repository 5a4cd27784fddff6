/** Something took longer than it may; the message says what, and how long that was. */
export class LimitError extends Error {
  override readonly name = "LimitError";
}

/**
 * Runs something that may take only so long. When the time is over, its signal aborts and the call rejects,
 * whether or not the work listens to the signal.
 *
 * @param what what is waited for, as the beginning of a sentence: "mlx-lm's answer"
 * @param ms milliseconds
 * @throws LimitError when the time is over
 */
export async function withLimit<Result>(
  what: string,
  ms: number,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const error = new LimitError(`${what} did not come within ${ms / 1000} s`);
      reject(error);
      controller.abort(error);
    }, ms);
  });
  try {
    return await Promise.race([work(controller.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}
