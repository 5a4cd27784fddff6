import type { Hash } from "node:crypto";
import { open, rename, rm, truncate } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { Interrupted } from "../io.js";
import { incompleteOf, type RepoCache, sizeOf, writing } from "./cache.js";
import { type HubClient, networkError, type RemoteFile, type Snapshot } from "./client.js";
import { hashFile, hashFor } from "./digest.js";
import { PullError } from "./settings.js";

/** How a file came to be in the cache. */
export type FileOutcome = "cached" | "downloaded" | "resumed";

/** What a download works with. */
export interface DownloadContext {
  readonly client: HubClient;
  readonly cache: RepoCache;
  readonly snapshot: Snapshot;
  readonly endpoint: string;
  readonly signal: AbortSignal;
  /** Pauses before the second attempt, the third and so on, in milliseconds; as many attempts as these and one. */
  readonly retryDelaysMs: readonly number[];
  /** Hears of a file's bytes on disk. */
  readonly onBytes: (file: RemoteFile, onDisk: number) => void;
}

/**
 * Brings a file into the cache's blobs. It is written under another name, from where an earlier attempt left it, and gets
 * its name when its digest is right.
 *
 * @throws PullError when it cannot be had; an incomplete file stays for the next attempt unless its content is wrong
 */
export async function downloadBlob(context: DownloadContext, file: RemoteFile): Promise<FileOutcome> {
  const { cache, signal, retryDelaysMs } = context;
  const blob = cache.blob(file.digest);
  if ((await sizeOf(blob)) === file.size) return "cached";
  const incomplete = incompleteOf(blob);
  const resumed = ((await sizeOf(incomplete)) ?? 0) > 0;
  let wrong = false;
  for (let attempt = 0; ; attempt += 1) {
    try {
      if (await fill(context, file, incomplete)) break;
      await rm(incomplete, { force: true });
      // Bytes of an earlier run may be what is wrong: once more from the start.
      if (!resumed || wrong) throw mismatch(file);
      wrong = true;
    } catch (error) {
      if (signal.aborted) throw new Interrupted();
      const delay = retryDelaysMs[attempt];
      if (!isTransient(error) || delay === undefined) throw error;
      await sleep(delay, undefined, { signal }).catch(() => {
        throw new Interrupted();
      });
    }
  }
  await writing(blob, () => rename(incomplete, blob));
  return resumed && !wrong ? "resumed" : "downloaded";
}

/** Completes an incomplete file; whether its digest is right. */
async function fill(context: DownloadContext, file: RemoteFile, path: string): Promise<boolean> {
  const { signal, onBytes } = context;
  let offset = (await sizeOf(path)) ?? 0;
  if (offset > file.size) {
    await truncate(path);
    offset = 0;
  }
  const hash = hashFor(file);
  if (offset > 0) await hashFile(path, hash, signal);
  onBytes(file, offset);
  if (offset < file.size) await fetchRest(context, file, path, offset, hash);
  else if (file.size === 0) await writing(path, async () => (await open(path, "a")).close());
  return hash.digest("hex") === file.digest;
}

/** Writes and hashes the bytes from `start` on. */
async function fetchRest(
  context: DownloadContext,
  file: RemoteFile,
  path: string,
  start: number,
  hash: Hash,
): Promise<void> {
  const { client, snapshot, endpoint, onBytes } = context;
  const response = await client.open(snapshot, file, start);
  if (start > 0 && response.status !== 206) {
    await response.body?.cancel();
    await truncate(path);
    throw new PullError("NetworkError", `${endpoint} does not resume ${file.path}`);
  }
  const out = await writing(path, () => open(path, "a"));
  let offset = start;
  try {
    for await (const chunk of bodyOf(response, endpoint)) {
      await writing(path, () => out.appendFile(chunk));
      hash.update(chunk);
      offset += chunk.length;
      if (offset > file.size) break;
      onBytes(file, offset);
    }
    await writing(path, () => out.sync());
  } finally {
    await out.close();
  }
  if (offset < file.size) throw networkError(endpoint, new Error(`${file.path} ended after ${offset} bytes`));
}

/** The chunks of a response; a connection that breaks is a {@link PullError}. */
async function* bodyOf(response: Response, endpoint: string): AsyncGenerator<Uint8Array, void, undefined> {
  const reader = response.body?.getReader();
  try {
    while (reader !== undefined) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw networkError(endpoint, error);
      });
      if (done) return;
      yield value;
    }
  } finally {
    // A connection that broke has told why already; there is nothing left of it to cancel.
    await reader?.cancel().catch(() => {});
  }
}

function mismatch(file: RemoteFile): PullError {
  const message = `${file.path} is not what the hub says it is (its digest should be ${file.digest}); it was removed, pull again`;
  return new PullError("ChecksumMismatch", message, { data: { path: file.path, digest: file.digest } });
}

/** Whether another attempt may succeed. */
function isTransient(error: unknown): boolean {
  if (!(error instanceof PullError)) return false;
  const { status } = error.data;
  return error.kind === "NetworkError" || (typeof status === "number" && (status >= 500 || status === 429));
}
