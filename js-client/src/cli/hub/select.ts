import { isGguf } from "../files.js";
import { matchesGlob } from "./glob.js";
import { PullError } from "./settings.js";

/** What to take of a repository. */
export interface Selection {
  /** Names or patterns with `*` to take in place of the default. */
  readonly include?: readonly string[] | undefined;
  /** Names or patterns to leave out. */
  readonly exclude?: readonly string[] | undefined;
  /** Take everything. */
  readonly all?: boolean | undefined;
}

interface Named {
  /** Path in the repository. */
  readonly path: string;
}

/** The files beside the weights that the worker reads; see its packages gpu/load and text. */
const MODEL_FILES = [
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "chat_template.json",
  "model.safetensors.index.json",
  "model*.safetensors",
  "LICENSE*",
] as const;

/**
 * The files to take: by default those that the worker needs, of the top folder only. A repository of GGUF files alone
 * has no config.json that is of use, and only one of its files is wanted.
 *
 * @throws PullError when nothing is left, or when one of several GGUF files has to be chosen
 */
export function selectFiles<F extends Named>(
  repo: string,
  files: readonly F[],
  { include, exclude = [], all }: Selection,
): F[] {
  const wanted = include ?? (all === true ? ["*"] : defaultPatterns(repo, files));
  const matches = (file: Named, patterns: readonly string[], anyFolder: boolean): boolean =>
    patterns.some((pattern) => matchesGlob(file.path, pattern, anyFolder));
  const chosen = files.filter(
    (file) => matches(file, wanted, include !== undefined || all === true) && !matches(file, exclude, true),
  );
  if (chosen.length === 0) {
    throw new PullError("NothingToPull", `${repo} has no file that fits; it has: ${names(files)}`);
  }
  return chosen;
}

function defaultPatterns(repo: string, files: readonly Named[]): readonly string[] {
  const top = files.filter(({ path }) => !path.includes("/"));
  if (top.some(({ path }) => matchesGlob(path, "model*.safetensors", false))) return MODEL_FILES;
  const ggufs = top.filter(({ path }) => isGguf(path));
  const [only] = ggufs;
  if (only === undefined) {
    const message = `${repo} has neither model*.safetensors nor .gguf files; --all or --include takes what there is: ${names(files)}`;
    throw new PullError("NothingToPull", message);
  }
  if (ggufs.length > 1) {
    const message = `${repo} has several models; choose one with --include: ${names(ggufs)}`;
    throw new PullError("SeveralModels", message, { data: { files: ggufs.map(({ path }) => path) } });
  }
  return [only.path, "LICENSE*"];
}

function names(files: readonly Named[]): string {
  const shown = files.slice(0, 30).map(({ path }) => path);
  return `${shown.join(", ")}${files.length > shown.length ? " and others" : ""}` || "nothing";
}
