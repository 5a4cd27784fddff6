import { HubApiError, listFiles, modelInfo } from "@huggingface/hub";
import { messageOf } from "../exit.js";
import { Interrupted } from "../io.js";
import { isCommit } from "./layout.js";
import { type HubSettings, PullError, type RepoName } from "./settings.js";

/** A file of a repository. */
export interface RemoteFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Name of its blob in the cache: the SHA-256 of a large file, the git SHA-1 of a small one, in hex. */
  readonly digest: string;
}

/** A repository at one commit. */
export interface Snapshot extends RepoName {
  readonly commit: string;
  /** As the repository states it. */
  readonly license: string | undefined;
  readonly files: readonly RemoteFile[];
}

/** The calls to the hub, which stop when `signal` fires. Its errors are {@link PullError}s. */
export class HubClient {
  readonly #settings: HubSettings;
  readonly #signal: AbortSignal;

  constructor(settings: HubSettings, signal: AbortSignal) {
    this.#settings = settings;
    this.#signal = signal;
  }

  /** What a repository holds at a revision. */
  async snapshot({ repo, revision }: RepoName): Promise<Snapshot> {
    const common = { hubUrl: this.#settings.endpoint, fetch: this.#fetch };
    return this.#typed(repo, revision, async () => {
      const info = await modelInfo({ ...common, name: repo, revision, additionalFields: ["sha", "tags"] });
      if (!isCommit(info.sha)) {
        throw new PullError("BadListing", `the hub names no commit of ${repo}@${revision}`);
      }
      const files: RemoteFile[] = [];
      for await (const entry of listFiles({ ...common, repo, revision: info.sha, recursive: true })) {
        if (entry.type === "file")
          files.push(remoteFile(repo, entry.path, entry.size, entry.lfs?.oid ?? entry.oid));
      }
      const license = info.tags.find((tag) => tag.startsWith("license:"))?.slice("license:".length);
      return { repo, revision, commit: info.sha, license, files };
    });
  }

  /** The bytes of a file from an offset on. */
  async open(snapshot: Snapshot, file: RemoteFile, offset: number): Promise<Response> {
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const url = `${this.#settings.endpoint}/${snapshot.repo}/resolve/${snapshot.commit}/${path}`;
    return this.#typed(snapshot.repo, snapshot.revision, async () => {
      // "identity": a range of compressed bytes would be of no use.
      const headers = { "accept-encoding": "identity", ...(offset > 0 && { range: `bytes=${offset}-` }) };
      const response = await this.#fetch(url, { headers });
      if (response.ok) return response;
      await response.body?.cancel();
      throw new HubApiError(url, response.status);
    });
  }

  readonly #fetch = (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers);
    headers.set("user-agent", "mlx-worker");
    // Only the hub gets the token: files come from elsewhere, by a redirect that drops this header.
    const { token, endpoint } = this.#settings;
    const target = new URL(url instanceof Request ? url.url : url);
    if (token !== undefined && target.origin === new URL(endpoint).origin) {
      headers.set("authorization", `Bearer ${token}`);
    }
    return fetch(url, { ...init, headers, signal: this.#signal });
  };

  async #typed<T>(repo: string, revision: string, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (this.#signal.aborted) throw new Interrupted();
      if (error instanceof PullError) throw error;
      if (error instanceof HubApiError) throw this.#statusError(error, repo, revision);
      throw networkError(this.#settings.endpoint, error);
    }
  }

  #statusError(error: HubApiError, repo: string, revision: string): PullError {
    const { token, endpoint } = this.#settings;
    const data = { status: error.statusCode, repo, revision };
    const options = { data, cause: error };
    switch (error.statusCode) {
      case 401:
        return new PullError(
          "Unauthorized",
          token === undefined
            ? `${repo} does not exist, or it is private or gated: then set HF_TOKEN (${endpoint}/settings/tokens)`
            : `the hub refuses the token for ${repo}: check HF_TOKEN, and that ${repo} exists`,
          options,
        );
      case 403:
        return new PullError(
          "Forbidden",
          `this account may not read ${repo}: accept its conditions at ${endpoint}/${repo}, or ask for access`,
          options,
        );
      case 404:
        return new PullError(
          "NotFound",
          `${repo} at revision ${revision} was not found at ${endpoint}`,
          options,
        );
      default:
        return new PullError("HubError", `the hub answers ${repo} with status ${error.statusCode}`, options);
    }
  }
}

/** A {@link PullError} for a connection that failed. */
export function networkError(endpoint: string, error: unknown): PullError {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  const message = `the connection to ${endpoint} failed: ${messageOf(cause)}; the same command goes on where it stopped`;
  return new PullError("NetworkError", message, { cause: error });
}

/** A checked entry of a listing: it must not lead out of the folders that it is joined to. */
function remoteFile(repo: string, path: string, size: number, digest: string | undefined): RemoteFile {
  const parts = path.split("/");
  const bad = parts.some((part) => part === "" || part === "." || part === ".." || /[\\\0]/.test(part));
  if (
    bad ||
    digest === undefined ||
    !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(digest) ||
    !Number.isSafeInteger(size)
  ) {
    throw new PullError(
      "BadListing",
      `the hub lists a file of ${repo} that cannot be stored: ${JSON.stringify(path)}`,
    );
  }
  return { path, size, digest };
}
