import type { Checkpoint } from "./checkpoints.js";

/** How a checkpoint is loaded. */
export interface LoadMode {
  /**
   * default: as the worker chooses. packed: quantised matrices stay so on the CPU. as-stored: activations and scales
   * have the checkpoint's own type, so that nothing is converted.
   */
  readonly name: "default" | "packed" | "as-stored";
  readonly env: Readonly<Record<string, string>>;
  readonly dtype?: "float16" | "bfloat16";
}

/** A checkpoint and how it is loaded. */
export interface LoadCase {
  readonly checkpoint: Checkpoint;
  readonly mode: LoadMode;
}

/** The ways to load a checkpoint that may differ. */
export function modesOf({ quantised, storedDType }: Checkpoint): LoadMode[] {
  const modes: LoadMode[] = [{ name: "default", env: {} }];
  if (quantised) modes.push({ name: "packed", env: { MLX_CPU_DENSE_WEIGHTS: "off" } });
  if (storedDType) modes.push({ name: "as-stored", env: {}, dtype: storedDType });
  return modes;
}

/** All of them for checkpoints. */
export function casesOf(checkpoints: readonly Checkpoint[]): LoadCase[] {
  return checkpoints.flatMap((checkpoint) => modesOf(checkpoint).map((mode) => ({ checkpoint, mode })));
}

/** Those that need no worker of their own. */
export function casesOfOneWorker(checkpoints: readonly Checkpoint[]): LoadCase[] {
  return casesOf(checkpoints).filter(({ mode }) => Object.keys(mode.env).length === 0);
}

/** `random-bf16, as-stored` */
export function caseName({ checkpoint, mode }: LoadCase): string {
  return `${checkpoint.name}, ${mode.name}`;
}
