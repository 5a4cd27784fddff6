import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expandHome } from "../engine-flags.js";
import { CommandError, messageOf, systemCode, UsageError } from "../exit.js";
import type { Io } from "../io.js";
import { hfHome, hubCacheDir } from "./cache-dir.js";

/** The Hugging Face variables of the environment. */
export interface HubSettings {
  /** Address of the hub, without a slash at the end (`HF_ENDPOINT`). */
  readonly endpoint: string;
  /** `HF_TOKEN`, or the file that `hf auth login` writes. */
  readonly token: string | undefined;
  /** Folder of the cache, where the worker looks too (`HF_HUB_CACHE`, `HF_HOME`). */
  readonly cacheDir: string;
  /** `HF_HUB_OFFLINE`: the network is not to be used. */
  readonly offline: boolean;
}

/** @throws UsageError for an `HF_ENDPOINT` that is no HTTP address, and for a token that cannot be read */
export function hubSettings(env: Io["env"]): HubSettings {
  const home = hfHome(env);
  const endpoint = (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, "");
  if (!/^https?:$/.test(tryUrl(endpoint)?.protocol ?? "")) {
    throw new UsageError(`HF_ENDPOINT=${JSON.stringify(endpoint)}: accepted: an http or https address`);
  }
  return {
    endpoint,
    token: env.HF_TOKEN?.trim() || tokenFile(env.HF_TOKEN_PATH, join(home, "token")),
    cacheDir: hubCacheDir(env),
    offline: /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? ""),
  };
}

/** The token in the file that was named, or in the default one, which need not be there. */
function tokenFile(named: string | undefined, byDefault: string): string | undefined {
  const path = named ? expandHome(named) : byDefault;
  try {
    return readFileSync(path, "utf8").trim() || undefined;
  } catch (error) {
    if (!named && systemCode(error) === "ENOENT") return undefined;
    throw new UsageError(`${named ? "HF_TOKEN_PATH: " : ""}the token cannot be read: ${messageOf(error)}`);
  }
}

function tryUrl(text: string): URL | undefined {
  return URL.canParse(text) ? new URL(text) : undefined;
}

/** A repository of models and what of it is wanted. */
export interface RepoName {
  readonly repo: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

/**
 * Takes `org/name@revision` apart; the default is "main". Names are as the worker accepts them.
 *
 * @throws UsageError for anything else
 */
export function parseRepo(given: string): RepoName {
  const [, repo, revision = "main"] =
    /^(?:hf:\/\/)?([\w.-]+(?:\/[\w.-]+)?)(?:@([\w./-]+))?$/.exec(given) ?? [];
  const safe = (name: string): boolean =>
    name.split("/").every((part) => part !== "" && part !== "." && !part.includes(".."));
  if (repo === undefined || !safe(repo) || !safe(revision)) {
    throw new UsageError(`REPO ${JSON.stringify(given)}: accepted: org/name or org/name@revision`);
  }
  return { repo, revision };
}

/** A failure of a download, with what can be done about it. */
export class PullError extends CommandError {
  override readonly name: string = "PullError";
  declare readonly kind: PullErrorKind;

  constructor(
    kind: PullErrorKind,
    message: string,
    options?: { readonly data?: Readonly<Record<string, unknown>>; readonly cause?: unknown },
  ) {
    super(kind, message, options);
  }
}

/** Why a download failed. */
export type PullErrorKind =
  | "Unauthorized"
  | "Forbidden"
  | "NotFound"
  | "HubError"
  | "NetworkError"
  | "Offline"
  | "Busy"
  | "DiskFull"
  | "CannotWrite"
  | "ChecksumMismatch"
  | "BadListing"
  | "NothingToPull"
  | "SeveralModels";
