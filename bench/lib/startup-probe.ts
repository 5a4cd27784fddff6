import { spawn } from "node:child_process";
import { residentBytes } from "./machine.js";

/** One start of the worker. */
export interface Startup {
  /** From starting the process to having its `worker/ready` frame, milliseconds. */
  readonly readyMs: number;
  /** Resident memory at that moment, before any model, bytes. Null where the platform does not tell. */
  readonly residentBytes: number | null;
}

/** The worker did not start as it should; the message carries its stderr. */
export class StartupError extends Error {
  override readonly name = "StartupError";
}

const LENGTH_BYTES = 4;
const READY_METHOD = "worker/ready";

/** The first frame's body as soon as it is complete: a length as uint32 big-endian, then so many bytes. */
export function firstFrame(bytes: Buffer): Buffer | undefined {
  if (bytes.length < LENGTH_BYTES) return undefined;
  const end = LENGTH_BYTES + bytes.readUInt32BE(0);
  return bytes.length < end ? undefined : bytes.subarray(LENGTH_BYTES, end);
}

/**
 * Starts the worker once, waits for its first frame, ends it by closing its stdin.
 *
 * @param file the worker's executable
 * @param args what stands before its own arguments, for a worker that is a script
 * @throws StartupError when the first frame is not `worker/ready` or the worker does not exit with 0
 */
export async function probeStartup(file: string, args: readonly string[] = []): Promise<Startup> {
  const began = performance.now();
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "pipe"] });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  const exited = new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(error.message));
    child.once("close", (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  const frame = await Promise.race([readFirstFrame(child.stdout), exited]);
  const readyMs = performance.now() - began;
  if (typeof frame === "string")
    throw new StartupError(`the worker ended before it was ready (${frame})\n${errors}`);
  const resident = child.pid === undefined ? null : await residentBytes(child.pid);
  child.stdin.end();
  child.stdout.resume();
  const end = await exited;
  if (!frame.includes(READY_METHOD))
    throw new StartupError(`the worker's first frame is not ${READY_METHOD}`);
  if (end !== "exit code 0")
    throw new StartupError(`the worker ended with ${end} at the end of its stdin\n${errors}`);
  return { readyMs, residentBytes: resident };
}

function readFirstFrame(stream: NodeJS.ReadableStream): Promise<Buffer> {
  return new Promise((resolve) => {
    let bytes = Buffer.alloc(0);
    stream.on("data", (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      const frame = firstFrame(bytes);
      if (frame) resolve(frame);
    });
  });
}
