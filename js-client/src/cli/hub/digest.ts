import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import type { RemoteFile } from "./client.js";

/** The hash that a file's digest is made with: SHA-256 of the content, or git's SHA-1 of its object. */
export function hashFor({ digest, size }: RemoteFile): Hash {
  if (digest.length === 64) return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`);
}

/** Feeds what a file on disk holds to a hash. */
export async function hashFile(path: string, hash: Hash, signal: AbortSignal): Promise<void> {
  for await (const chunk of createReadStream(path, { signal })) hash.update(chunk as Buffer);
}
