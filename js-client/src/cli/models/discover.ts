import type { Dirent } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** A model on disk that the worker finds by an id. */
export interface FoundModel {
  /** What `MODEL` arguments and `loadModel` take. */
  readonly id: string;
  readonly source: "models-dir" | "hub-cache";
  /** The folder, or the .gguf file. */
  readonly path: string;
  /** Bytes of all its files. */
  readonly sizeBytes: number;
  /** Branch or tag of the Hugging Face cache. */
  readonly revision?: string;
}

/** A download of `pull` that has not been completed. */
export interface IncompleteDownload {
  readonly id: string;
  /** Bytes that are there. */
  readonly sizeBytes: number;
}

/** The models of a folder such as `MLX_MODELS_DIR`: folders, folders in folders (org/name) and .gguf files. */
export async function modelsInFolder(folder: string): Promise<FoundModel[]> {
  const models: FoundModel[] = [];
  const visit = async (prefix: string, depth: number): Promise<void> => {
    for (const entry of await entries(join(folder, prefix))) {
      const name = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
      const path = join(folder, name);
      const isFolder = await isDirectory(path);
      if (!isFolder && !isGguf(entry.name)) continue;
      const model = isFolder ? await modelInFolder(path) : path;
      if (model !== undefined) {
        const id = isFolder ? name : name.replace(/\.gguf$/, "");
        models.push({ id, source: "models-dir", path: model, sizeBytes: await diskSize(path) });
      } else if (depth < 2) await visit(name, depth + 1);
    }
  };
  await visit("", 1);
  return models;
}

/** The models and the incomplete downloads of a Hugging Face cache. */
export async function modelsInHub(
  cacheDir: string,
): Promise<{ models: FoundModel[]; incomplete: IncompleteDownload[] }> {
  const models: FoundModel[] = [];
  const incomplete: IncompleteDownload[] = [];
  for (const { name } of await entries(cacheDir)) {
    if (!name.startsWith("models--")) continue;
    const folder = join(cacheDir, name);
    const repo = name.slice("models--".length).replace("--", "/");
    for (const revision of await refs(join(folder, "refs"))) {
      const commit = (await readFile(join(folder, "refs", revision), "utf8").catch(() => "")).trim();
      if (!/^[0-9a-f]{40}$/.test(commit)) continue;
      const snapshot = join(folder, "snapshots", commit);
      const path = await modelInFolder(snapshot);
      if (path === undefined) continue;
      const id = revision === "main" ? repo : `${repo}@${revision}`;
      models.push({ id, source: "hub-cache", path, sizeBytes: await diskSize(snapshot), revision });
    }
    const rest = await unfinished(join(folder, "blobs"));
    if (rest > 0) incomplete.push({ id: repo, sizeBytes: rest });
  }
  return { models, incomplete };
}

/** Names of refs; those with slashes lie in folders. */
async function refs(folder: string): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await entries(folder)) {
    if (entry.isFile() && !entry.name.endsWith(".tmp")) names.push(entry.name);
    if (entry.isDirectory()) {
      names.push(...(await refs(join(folder, entry.name))).map((name) => `${entry.name}/${name}`));
    }
  }
  return names;
}

async function unfinished(blobs: string): Promise<number> {
  let size = 0;
  for (const { name } of await entries(blobs)) {
    if (name.endsWith(".mlx-worker.incomplete")) size += await diskSize(join(blobs, name));
  }
  return size;
}

/** The model that the worker would take of a folder: the folder itself if it has config.json, or its only .gguf file. */
async function modelInFolder(folder: string): Promise<string | undefined> {
  const names = (await entries(folder)).map(({ name }) => name);
  if (names.includes("config.json")) return folder;
  const [only, another] = names.filter(isGguf);
  return only === undefined || another !== undefined ? undefined : join(folder, only);
}

/** Bytes of a file, or of all files of a folder; links count as what they lead to. */
export async function diskSize(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.size;
  let size = 0;
  for (const { name } of await entries(path)) size += await diskSize(join(path, name));
  return size;
}

function isGguf(name: string): boolean {
  return /\.gguf$/i.test(name);
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}

async function entries(folder: string): Promise<Dirent[]> {
  const found = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
