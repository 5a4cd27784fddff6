import { existsSync } from "node:fs";
import { BUILT_CLIENT, MODEL_FILE, WORKER } from "./paths.js";

/** These tests are about the real thing: without it they fail rather than being skipped. */
export default function requireWorker(): void {
  const missing = [WORKER, MODEL_FILE, BUILT_CLIENT].filter((path) => !existsSync(path));
  if (missing.length === 0) return;
  throw new Error(`missing: ${missing.join(", ")}; make them with: make setup model`);
}
