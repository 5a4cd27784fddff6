import { stat } from "node:fs/promises";
import { messageOf, systemCode } from "./exit.js";

/** Hears of what could not be looked at. */
export type Tell = (problem: string) => void;

/** Whether a file has the name of a GGUF checkpoint. */
export function isGguf(name: string): boolean {
  return /\.gguf$/i.test(name);
}

/** Whether a path is, or leads to, a folder. */
export async function isFolder(path: string, tell: Tell): Promise<boolean> {
  return (await ifThere(path, stat(path), tell))?.isDirectory() ?? false;
}

/** What is read at a path; undefined where nothing is, and where it cannot be read, which is told. */
export async function ifThere<T>(path: string, reading: Promise<T>, tell: Tell): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const code = systemCode(error);
    if (code !== "ENOENT") tell(`${path} cannot be read: ${code ?? messageOf(error)}`);
    return undefined;
  }
}
