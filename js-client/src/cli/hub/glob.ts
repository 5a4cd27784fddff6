/**
 * Whether a path of a repository fits a pattern, in which `*` stands for any characters, slashes included, and `?` for
 * one.
 *
 * @param anyFolder false: only files of the top folder fit
 */
export function matchesGlob(path: string, pattern: string, anyFolder: boolean): boolean {
  if (!anyFolder && path.includes("/")) return false;
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "s").test(path);
}
