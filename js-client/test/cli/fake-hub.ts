import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

export const COMMIT = "0123456789abcdef0123456789abcdef01234567";
export const REPO = "org/tiny";

/** Files from this size on are stored as LFS: they have a SHA-256 and come from another server. */
const LFS_FROM = 1000;

/** How a hub behaves. */
export interface HubBehaviour {
  readonly files: Readonly<Record<string, string | Buffer>>;
  /** The token that it wants. */
  readonly token?: string;
  /** Answers every request with this status. */
  readonly status?: number;
  /** Entries that the listing has besides, as they are. */
  readonly listed?: readonly object[];
  /** Reacts to a request for the content of an LFS file in place of the hub; true: it has answered. */
  readonly intercept?: (request: FileRequest) => boolean;
}

/** A request for the content of an LFS file. */
export interface FileRequest {
  readonly path: string;
  readonly content: Buffer;
  /** How many requests there were before. */
  readonly earlier: number;
  /** First byte that is wanted. */
  readonly from: number;
  readonly response: ServerResponse;
}

/** A hub on this machine, and what it was asked for. */
export interface FakeHub {
  /** Value for HF_ENDPOINT. */
  readonly endpoint: string;
  /** `METHOD url` of every request to the hub itself. */
  readonly requests: string[];
  /** Range and authorization of every request for an LFS file. */
  readonly fileRequests: {
    readonly path: string;
    readonly range?: string;
    readonly authorization?: string;
  }[];
}

/** Name of a file's blob in the cache. */
export function digestOf(content: string | Buffer): string {
  const bytes = Buffer.from(content);
  if (bytes.length >= LFS_FROM) return createHash("sha256").update(bytes).digest("hex");
  return createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
}

/** Starts a hub with one repository at one commit, stopped when the test ends. */
export async function fakeHub(behaviour: HubBehaviour): Promise<FakeHub> {
  const fileRequests: FakeHub["fileRequests"] = [];
  const requests: string[] = [];
  const content = (path: string): Buffer | undefined => {
    const found = behaviour.files[path];
    return found === undefined ? undefined : Buffer.from(found);
  };
  const storage = await listen((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "", "http://x").pathname.slice(1));
    const bytes = content(path) ?? Buffer.alloc(0);
    const { range, authorization } = request.headers;
    const earlier = fileRequests.length;
    fileRequests.push({ path, ...(range && { range }), ...(authorization && { authorization }) });
    const from = Number(/^bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    if (behaviour.intercept?.({ path, content: bytes, earlier, from, response })) return;
    response.writeHead(range === undefined ? 200 : 206, { "content-length": bytes.length - from });
    response.end(bytes.subarray(from));
  });
  const hub = await listen((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    const url = new URL(request.url ?? "", hub.url);
    const json = (value: unknown, headers = {}): void => {
      response.writeHead(200, { "content-type": "application/json", ...headers });
      response.end(JSON.stringify(value));
    };
    const fail = (status: number): void => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify({ error: `status ${status}` }));
    };
    if (behaviour.status !== undefined) return fail(behaviour.status);
    if (behaviour.token !== undefined && request.headers.authorization !== `Bearer ${behaviour.token}`) {
      return fail(401);
    }
    if (new RegExp(`^/api/models/${REPO}/revision/(main|v1|${COMMIT})$`).test(url.pathname)) {
      return json({ _id: "1", id: REPO, sha: COMMIT, tags: ["license:mit"], lastModified: "2026-01-01" });
    }
    if (url.pathname === `/api/models/${REPO}/tree/${COMMIT}`) {
      // Two pages.
      const all = [
        ...Object.keys(behaviour.files).map((path) => entry(path, content(path))),
        ...(behaviour.listed ?? []),
      ];
      const second = url.searchParams.has("cursor");
      const next = `<${hub.url}${url.pathname}?cursor=2>; rel="next"`;
      return json(second ? all.slice(2) : all.slice(0, 2), second ? {} : { link: next });
    }
    const [, path = ""] = new RegExp(`^/${REPO}/resolve/${COMMIT}/(.*)$`).exec(url.pathname) ?? [];
    const bytes = content(decodeURIComponent(path));
    if (bytes === undefined) return fail(404);
    if (bytes.length >= LFS_FROM) {
      response.writeHead(302, { location: `${storage.url}/${path}` });
      response.end();
      return undefined;
    }
    response.writeHead(200, { "content-length": bytes.length });
    response.end(bytes);
    return undefined;
  });
  return { endpoint: hub.url, requests, fileRequests };
}

function entry(path: string, content: Buffer = Buffer.alloc(0)): object {
  const size = content.length;
  const digest = digestOf(content);
  if (size < LFS_FROM) return { type: "file", path, size, oid: digest };
  return { type: "file", path, size, oid: "a".repeat(40), lfs: { oid: digest, size, pointerSize: 100 } };
}

async function listen(
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ url: string; server: Server }> {
  const server = createServer(onRequest);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}
