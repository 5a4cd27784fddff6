import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { expandHome } from "../engine-flags.js";
import type { Io } from "../io.js";

/** The folder of the Hugging Face cache, where the worker looks too (`HF_HUB_CACHE`, `HF_HOME`). */
export function hubCacheDir(env: Io["env"]): string {
  return resolve(env.HF_HUB_CACHE ? expandHome(env.HF_HUB_CACHE) : join(hfHome(env), "hub"));
}

/** The Hugging Face home. */
export function hfHome(env: Io["env"]): string {
  return env.HF_HOME ? expandHome(env.HF_HOME) : join(env.HOME || homedir(), ".cache", "huggingface");
}
