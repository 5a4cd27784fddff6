import { fileURLToPath } from "node:url";

const fromRoot = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

/** Root of the checkout. */
export const ROOT: string = fromRoot("");

/** The worker under test: the one that was built here, unless MLX_WORKER_PATH names another. */
export const WORKER: string = process.env.MLX_WORKER_PATH ?? fromRoot("bin/mlx-worker");

/** The test model, which `make model` fetches. */
export const MODEL_FILE: string = fromRoot(".deps/models/SmolLM2-135M-Instruct.Q4_1.gguf");

/** The built client, which `import "mlx-worker"` resolves to. */
export const BUILT_CLIENT: string = fromRoot("js-client/dist/index.mjs");
