import {
  lstat,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { systemCode } from "../exit.js";
import { bytes } from "../format.js";
import { BLOBS, folderOfRepo, INCOMPLETE, isCommit, REFS, SNAPSHOTS, UNWRITTEN_REF } from "./layout.js";
import { PullError, type RepoName } from "./settings.js";

/** A repository's folder in the Hugging Face cache. */
export class RepoCache {
  readonly folder: string;

  constructor(cacheDir: string, repo: string) {
    this.folder = join(cacheDir, folderOfRepo(repo));
  }

  blob(digest: string): string {
    return join(this.folder, BLOBS, digest);
  }

  snapshot(commit: string): string {
    return join(this.folder, SNAPSHOTS, commit);
  }

  /** The snapshot folder that a revision names, if it is there. */
  async find({ revision }: RepoName): Promise<{ commit: string; path: string } | undefined> {
    try {
      const ref = isCommit(revision) ? revision : await readFile(join(this.folder, REFS, revision), "utf8");
      const commit = ref.trim();
      const path = this.snapshot(commit);
      return (await stat(path)).isDirectory() ? { commit, path } : undefined;
    } catch (error) {
      if (systemCode(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  /** The files of a snapshot, less those whose content is missing. */
  async files(commit: string): Promise<{ path: string; size: number }[]> {
    const folder = this.snapshot(commit);
    const files: { path: string; size: number }[] = [];
    for (const path of (await readdir(folder, { recursive: true })).sort()) {
      const found = await stat(join(folder, path)).catch((error: unknown) => {
        if (systemCode(error) === "ENOENT") return undefined;
        throw error;
      });
      if (found?.isFile() === true) files.push({ path: path.split(sep).join("/"), size: found.size });
    }
    return files;
  }

  /** Links a blob into a snapshot. */
  async link(commit: string, path: string, digest: string): Promise<void> {
    const link = join(this.snapshot(commit), path);
    const target = relative(dirname(link), this.blob(digest));
    await writing(link, async () => {
      await mkdir(dirname(link), { recursive: true });
      await rm(link, { force: true });
      await symlink(target, link);
    });
  }

  /** Lets a revision name a commit, in one step. A commit needs no name. */
  async setRevision(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const ref = join(this.folder, REFS, revision);
    const unwritten = `${ref}.${process.pid}${UNWRITTEN_REF}`;
    await writing(ref, async () => {
      await mkdir(dirname(ref), { recursive: true });
      await writeFile(unwritten, commit);
      await rename(unwritten, ref);
    });
  }

  /**
   * Keeps other pulls of this repository away until the returned function is called. A lock whose process is gone is
   * taken over.
   *
   * @throws PullError of kind "Busy" while another pull has it
   */
  async lock(): Promise<() => Promise<void>> {
    const path = join(this.folder, ".mlx-worker.lock");
    await writing(path, () => mkdir(this.folder, { recursive: true }));
    const create = (): Promise<void> => writeFile(path, String(process.pid), { flag: "wx" });
    await writing(path, () =>
      create().catch(async (error: unknown) => {
        if (systemCode(error) !== "EEXIST") throw error;
        // A lock that is gone, or cannot be read, names no process; writing it again tells.
        const owner = Number(await readFile(path, "utf8").catch(() => ""));
        if (isRunning(owner)) {
          const message = `process ${owner} is pulling this repository already; if it is not, remove ${path}`;
          throw new PullError("Busy", message, { data: { pid: owner } });
        }
        await rm(path, { force: true });
        await create();
      }),
    );
    return () => rm(path, { force: true });
  }

  /** @throws PullError when the disk has no room for `needed` more bytes */
  async requireSpace(needed: number): Promise<void> {
    await writing(this.folder, () => mkdir(join(this.folder, BLOBS), { recursive: true }));
    const { bavail, bsize } = await statfs(this.folder);
    const free = bavail * bsize;
    if (free < needed) throw diskFull(this.folder, { required_bytes: needed, available_bytes: free });
  }
}

/** Where the content of a blob is while it comes in. */
export function incompleteOf(blob: string): string {
  return `${blob}${INCOMPLETE}`;
}

function isRunning(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0);
  } catch (error) {
    return systemCode(error) === "EPERM";
  }
}

/** Bytes of a file; undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).size;
  } catch {
    // Whatever keeps it from being looked at keeps it from being written, and is told then.
    return undefined;
  }
}

/** Does something that writes at `path`; a file system's refusal becomes a {@link PullError}. */
export async function writing<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOSPC" || code === "EDQUOT") throw diskFull(path, {}, error);
    if (error instanceof PullError || code === undefined) throw error;
    throw new PullError("CannotWrite", `${path} cannot be written: ${code}`, { cause: error });
  }
}

function diskFull(path: string, data: Readonly<Record<string, number>>, cause?: unknown): PullError {
  const { required_bytes: required, available_bytes: free } = data;
  const figures =
    required === undefined || free === undefined
      ? ""
      : `: ${bytes(required)} more are needed, ${bytes(free)} are free`;
  const message = `the disk of ${path} is full${figures}; with more room the same command goes on where it stopped`;
  return new PullError("DiskFull", message, { data, cause });
}
