import { incompleteOf, RepoCache, sizeOf } from "./cache.js";
import { HubClient, type RemoteFile, type Snapshot } from "./client.js";
import { downloadBlob, type FileOutcome } from "./download.js";
import { type Selection, selectFiles } from "./select.js";
import { type HubSettings, PullError, type RepoName } from "./settings.js";

/** What is told while files come in. */
export interface PullProgress {
  /** The files that will be in the snapshot. */
  onStart(snapshot: Snapshot, files: readonly RemoteFile[]): void;
  onBytes(file: RemoteFile, onDisk: number): void;
  onFile(file: RemoteFile, outcome: FileOutcome): void;
}

/** Options of {@link pull}. */
export interface PullOptions extends Selection {
  readonly settings: HubSettings;
  readonly signal: AbortSignal;
  /** Pauses between attempts, in milliseconds. */
  readonly retryDelaysMs?: readonly number[] | undefined;
  /** Only find out what would be downloaded. */
  readonly dryRun?: boolean | undefined;
  readonly progress: PullProgress;
}

/** What a pull did. */
export interface PullResult extends RepoName {
  readonly commit: string;
  /** The snapshot's folder. */
  readonly path: string;
  readonly license?: string | undefined;
  readonly files: readonly {
    readonly path: string;
    readonly size: number;
    readonly outcome: FileOutcome | "planned";
  }[];
}

const RETRY_DELAYS_MS = [500, 1000, 2000, 4000, 8000] as const;

/**
 * Brings a model's files into the Hugging Face cache. Until all of them are there and right, no snapshot names them:
 * links and the revision come last, config.json as the last link, so that an interrupted pull never looks complete.
 *
 * @throws PullError when something cannot be had or written; Interrupted when `signal` fires
 */
export async function pull(name: RepoName, options: PullOptions): Promise<PullResult> {
  const { settings, signal, progress } = options;
  const cache = new RepoCache(settings.cacheDir, name.repo);
  if (settings.offline) return offline(name, cache, options);
  const client = new HubClient(settings, signal);
  const snapshot = await client.snapshot(name);
  const files = selectFiles(name.repo, snapshot.files, options);
  const { commit, license } = snapshot;
  const result = { ...name, commit, path: cache.snapshot(commit), license };
  progress.onStart(snapshot, files);
  if (options.dryRun === true) {
    return { ...result, files: files.map(({ path, size }) => ({ path, size, outcome: "planned" })) };
  }
  const unlock = await cache.lock();
  try {
    await cache.requireSpace(await missingBytes(cache, files));
    const retryDelaysMs = options.retryDelaysMs ?? RETRY_DELAYS_MS;
    const context = { client, cache, snapshot, signal, retryDelaysMs, endpoint: settings.endpoint };
    const done: { path: string; size: number; outcome: FileOutcome }[] = [];
    for (const file of files) {
      const outcome = await downloadBlob({ ...context, onBytes: progress.onBytes }, file);
      done.push({ path: file.path, size: file.size, outcome });
      progress.onFile(file, outcome);
    }
    await publish(cache, snapshot, files);
    return { ...result, files: done };
  } finally {
    await unlock();
  }
}

/** Lets the worker see the files: config.json, by which it knows a model, is the last one. */
async function publish(cache: RepoCache, snapshot: Snapshot, files: readonly RemoteFile[]): Promise<void> {
  const isConfig = ({ path }: RemoteFile): number => Number(path === "config.json");
  for (const file of [...files].sort((a, b) => isConfig(a) - isConfig(b))) {
    await cache.link(snapshot.commit, file.path, file.digest);
  }
  await cache.setRevision(snapshot.revision, snapshot.commit);
}

/** Bytes that are not on disk yet. */
async function missingBytes(cache: RepoCache, files: readonly RemoteFile[]): Promise<number> {
  let missing = 0;
  for (const { digest, size } of files) {
    const blob = cache.blob(digest);
    const onDisk = (await sizeOf(blob)) ?? (await sizeOf(incompleteOf(blob))) ?? 0;
    missing += Math.max(0, size - onDisk);
  }
  return missing;
}

/** What is there already of what was asked for. */
async function offline(name: RepoName, cache: RepoCache, selection: Selection): Promise<PullResult> {
  const found = await cache.find(name);
  if (found !== undefined) {
    const files = selectFiles(name.repo, await cache.files(found.commit), selection);
    return { ...name, ...found, files: files.map((file) => ({ ...file, outcome: "cached" })) };
  }
  const message = `${name.repo}@${name.revision} is not in ${cache.folder}, and HF_HUB_OFFLINE forbids to download it`;
  throw new PullError("Offline", message);
}
