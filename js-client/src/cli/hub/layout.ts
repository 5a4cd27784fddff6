/**
 * The layout of the Hugging Face cache: a repository's folder has contents in `blobs/<digest>`, links to them in
 * `snapshots/<commit>/<path>`, and commits in `refs/<revision>`.
 */

const REPO_PREFIX = "models--";

/** Folders of a repository's folder. */
export const BLOBS = "blobs";
export const SNAPSHOTS = "snapshots";
export const REFS = "refs";

/** Ends the name of a blob while it comes in; Hugging Face's own tools have another end for theirs. */
export const INCOMPLETE = ".mlx-worker.incomplete";

/** Ends the name of a ref while it is written. */
export const UNWRITTEN_REF = ".tmp";

/** Name of a repository's folder. */
export function folderOfRepo(repo: string): string {
  return `${REPO_PREFIX}${repo.replaceAll("/", "--")}`;
}

/** The repository of a folder; undefined for the folder of something else. */
export function repoOfFolder(name: string): string | undefined {
  return name.startsWith(REPO_PREFIX) ? name.slice(REPO_PREFIX.length).replace("--", "/") : undefined;
}

/** Whether a text is the id of a commit. */
export function isCommit(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text);
}
