import { accessSync, constants, statSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { WorkerNotFoundError } from "./errors.js";

/** Packages with a prebuilt worker; constant names so that bundlers see what is meant. */
const PLATFORM_PACKAGES: Readonly<Partial<Record<string, string>>> = {
  "darwin-arm64": "@mlx-worker/darwin-arm64",
  "linux-arm64": "@mlx-worker/linux-arm64",
  "linux-x64": "@mlx-worker/linux-x64",
};

/** What the search depends on; the defaults are this process and this file. */
export interface ResolveWorkerOptions {
  /** `EngineOptions.workerPath`. */
  readonly workerPath?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform?: string;
  readonly arch?: string;
  /** Path of a package's `package.json`; throws when it is not installed. */
  readonly resolvePackage?: (specifier: string) => string;
  /** Folder of a local checkout's built worker. */
  readonly localBin?: string;
}

/**
 * Finds the worker's executable: option, then `MLX_WORKER_PATH`, then the platform package, then a local
 * build. A place that is named explicitly is not skipped when it is wrong.
 *
 * @throws WorkerNotFoundError naming every place and the usual causes
 */
export function resolveWorker(options: ResolveWorkerOptions): string {
  const { platform = process.platform, arch = process.arch } = options;
  const tried: string[] = [];
  const usable = (origin: string, path: string): boolean => {
    const problem = problemWith(path);
    tried.push(`${origin}: ${path} (${problem ?? "usable"})`);
    return problem === undefined;
  };

  const explicit: [origin: string, path: string | undefined][] = [
    ["option workerPath", options.workerPath],
    ["environment variable MLX_WORKER_PATH", options.env.MLX_WORKER_PATH],
  ];
  for (const [origin, path] of explicit) {
    if (path === undefined || path === "") {
      tried.push(`${origin}: not set`);
    } else if (usable(origin, path)) {
      return path;
    } else {
      throw new WorkerNotFoundError(
        explain("the worker that was asked for cannot be used", tried, []),
        tried,
      );
    }
  }

  const target = `${platform}-${arch}`;
  const packageName = PLATFORM_PACKAGES[target];
  if (packageName === undefined) {
    tried.push(`platform package: there is none for ${target}`);
  } else {
    const manifest = tryResolve(options.resolvePackage ?? resolveFromHere, `${packageName}/package.json`);
    if (manifest === undefined) tried.push(`platform package: ${packageName} is not installed`);
    else {
      const path = unpacked(join(dirname(manifest), "bin", "mlx-worker"));
      if (usable(`platform package ${packageName}`, path)) return path;
    }
  }

  const local = join(options.localBin ?? localBinFolder(), "mlx-worker");
  if (usable("local build", local)) return local;
  throw new WorkerNotFoundError(
    explain("no mlx-worker executable was found", tried, causes(packageName, target)),
    tried,
  );
}

/** What keeps `path` from being run, or undefined. */
function problemWith(path: string): string | undefined {
  try {
    if (!statSync(path).isFile()) return "not a file";
  } catch {
    return "does not exist";
  }
  try {
    accessSync(path, constants.X_OK);
  } catch {
    return "not executable";
  }
  return undefined;
}

function causes(packageName: string | undefined, target: string): string[] {
  if (packageName === undefined) {
    const known = Object.keys(PLATFORM_PACKAGES).join(", ");
    return [
      `this platform (${target}) has no prebuilt worker (there are: ${known}); build one and set workerPath`,
    ];
  }
  return [
    `optional dependencies were left out at install (--omit=optional, --no-optional): run npm install ${packageName}`,
    `node_modules was installed on another platform (a copied folder, a container, Node under Rosetta) than ${target}`,
    "a bundler or a packager left the package out: name it as external (Next.js: serverExternalPackages; Electron: asarUnpack)",
    "in a checkout of the project the worker is not built yet: run make setup",
  ];
}

function explain(problem: string, tried: readonly string[], causesOfIt: readonly string[]): string {
  const lines = [`${problem}. Looked at:`, ...tried.map((place) => `  - ${place}`)];
  if (causesOfIt.length > 0) lines.push("Usual causes:", ...causesOfIt.map((cause) => `  - ${cause}`));
  return lines.join("\n");
}

/** Where Electron's `asarUnpack` puts a file: nothing can be run from inside an archive. */
function unpacked(path: string): string {
  return path.replace(/(?<=[\\/]app\.asar)(?=[\\/])/, ".unpacked");
}

function tryResolve(resolve: (specifier: string) => string, specifier: string): string | undefined {
  try {
    return resolve(specifier);
  } catch {
    return undefined;
  }
}

function resolveFromHere(specifier: string): string {
  return createRequire(import.meta.url).resolve(specifier);
}

/** `bin/` of the checkout that this file is in: two levels above both src/ and dist/. */
function localBinFolder(): string {
  return fileURLToPath(new URL("../../bin", import.meta.url));
}
