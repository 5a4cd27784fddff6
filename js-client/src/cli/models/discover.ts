import { type Dirent, existsSync } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { ifThere, isFolder, isGguf, type Tell } from "../files.js";
import { BLOBS, INCOMPLETE, isCommit, REFS, repoOfFolder, SNAPSHOTS, UNWRITTEN_REF } from "../hub/layout.js";

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
export async function modelsInFolder(folder: string, tell: Tell): Promise<FoundModel[]> {
  const models: FoundModel[] = [];
  if (!existsSync(folder)) tell(`the models folder ${folder} does not exist`);
  const visit = async (prefix: string, depth: number): Promise<void> => {
    for (const entry of await entries(join(folder, prefix), tell)) {
      const name = prefix === "" ? entry.name : `${prefix}/${entry.name}`;
      const path = join(folder, name);
      const inFolder = await isFolder(path, tell);
      if (!inFolder && !isGguf(entry.name)) continue;
      const model = inFolder ? await modelInFolder(path, tell) : path;
      if (model !== undefined) {
        const id = inFolder ? name : name.replace(/\.gguf$/, "");
        models.push({ id, source: "models-dir", path: model, sizeBytes: await diskSize(path, tell) });
      } else if (depth < 2) await visit(name, depth + 1);
    }
  };
  await visit("", 1);
  return models;
}

/** The models and the incomplete downloads of a Hugging Face cache. */
export async function modelsInHub(
  cacheDir: string,
  tell: Tell,
): Promise<{ models: FoundModel[]; incomplete: IncompleteDownload[] }> {
  const models: FoundModel[] = [];
  const incomplete: IncompleteDownload[] = [];
  for (const { name } of await entries(cacheDir, tell)) {
    const repo = repoOfFolder(name);
    if (repo === undefined) continue;
    const folder = join(cacheDir, name);
    for (const revision of await refs(join(folder, REFS), tell)) {
      const ref = join(folder, REFS, revision);
      const commit = (await ifThere(ref, readFile(ref, "utf8"), tell))?.trim() ?? "";
      if (!isCommit(commit)) continue;
      const snapshot = join(folder, SNAPSHOTS, commit);
      const path = await modelInFolder(snapshot, tell);
      if (path === undefined) continue;
      const id = revision === "main" ? repo : `${repo}@${revision}`;
      models.push({ id, source: "hub-cache", path, sizeBytes: await diskSize(snapshot, tell), revision });
    }
    const rest = await unfinished(join(folder, BLOBS), tell);
    if (rest > 0) incomplete.push({ id: repo, sizeBytes: rest });
  }
  return { models, incomplete };
}

/** Names of refs; those with slashes lie in folders. */
async function refs(folder: string, tell: Tell): Promise<string[]> {
  const names: string[] = [];
  for (const entry of await entries(folder, tell)) {
    if (entry.isFile() && !entry.name.endsWith(UNWRITTEN_REF)) names.push(entry.name);
    if (entry.isDirectory()) {
      names.push(...(await refs(join(folder, entry.name), tell)).map((name) => `${entry.name}/${name}`));
    }
  }
  return names;
}

async function unfinished(blobs: string, tell: Tell): Promise<number> {
  let size = 0;
  for (const { name } of await entries(blobs, tell)) {
    if (name.endsWith(INCOMPLETE)) size += await diskSize(join(blobs, name), tell);
  }
  return size;
}

/** The model that the worker would take of a folder: the folder itself if it has config.json, or its only .gguf file. */
async function modelInFolder(folder: string, tell: Tell): Promise<string | undefined> {
  const names = (await entries(folder, tell)).map(({ name }) => name);
  if (names.includes("config.json")) return folder;
  const [only, another] = names.filter(isGguf);
  return only === undefined || another !== undefined ? undefined : join(folder, only);
}

/** Bytes of a file, or of all files of a folder; links count as what they lead to. */
async function diskSize(path: string, tell: Tell): Promise<number> {
  const found = await ifThere(path, stat(path), tell);
  if (found === undefined) return 0;
  if (!found.isDirectory()) return found.size;
  let size = 0;
  for (const { name } of await entries(path, tell)) size += await diskSize(join(path, name), tell);
  return size;
}

async function entries(folder: string, tell: Tell): Promise<Dirent[]> {
  const found = (await ifThere(folder, readdir(folder, { withFileTypes: true }), tell)) ?? [];
  return found.sort((a, b) => (a.name < b.name ? -1 : 1));
}
