import { arch, cpus, platform, release, totalmem } from "node:os";
import type { LoadModelOptions } from "../../index.js";
import { modelsFolder, openEngine } from "../engine-flags.js";
import { messageOf } from "../exit.js";
import { isFolder } from "../files.js";
import { bytes } from "../format.js";
import { hubCacheDir } from "../hub/cache-dir.js";
import type { Io } from "../io.js";
import { packageVersion } from "../package-version.js";
import { findWorker, runWorker } from "../worker-binary.js";
import type { Finding } from "./report.js";
import { selfTest } from "./self-test.js";

/** What doctor was asked for. */
export interface DoctorOptions {
  readonly worker?: string | undefined;
  readonly "models-dir"?: string | undefined;
  /** Model of the self-test; undefined: a generated one. */
  readonly model?: LoadModelOptions | undefined;
  /** Leaves the self-test out. */
  readonly skipSelfTest: boolean;
}

/** Looks at everything that a generation needs, as far as the first thing that is broken lets it. */
export async function examine(options: DoctorOptions, io: Io): Promise<Finding[]> {
  const findings = [host(), environment(io), ...(await folders(options["models-dir"], io))];
  const worker = findWorker(options.worker, io.env);
  findings.push({
    name: "worker",
    status: worker.path === undefined ? "fail" : "ok",
    text: worker.problem ?? worker.tried.join("\n"),
  });
  if (worker.path === undefined) return findings;
  findings.push(await workerVersion(worker.path, io));
  findings.push(...(await runtime(options, io)));
  return findings;
}

const attempt = async (name: string, action: () => Promise<string>): Promise<Finding> => {
  try {
    return { name, status: "ok", text: await action() };
  } catch (error) {
    return { name, status: "fail", text: messageOf(error) };
  }
};

function host(): Finding {
  const [major = 0] = process.versions.node.split(".").map(Number);
  const cpu = `${cpus()[0]?.model.trim() ?? "unknown processor"}, ${cpus().length} threads, ${bytes(totalmem())}`;
  return {
    name: "host",
    status: major >= 20 ? "ok" : "fail",
    text: `mlx-worker ${packageVersion()}, Node.js ${process.versions.node}${major >= 20 ? "" : " (20 or newer is needed)"}\n${platform()} ${release()} ${arch()}\n${cpu}`,
  };
}

/** The variables that matter; of secrets only whether they are set. */
function environment(io: Io): Finding {
  const set = Object.entries(io.env)
    .filter(([name, value]) => /^(MLX_|HF_)/.test(name) && value !== undefined && value !== "")
    .map(
      ([name, value]) => `${name}=${/TOKEN|KEY|SECRET/.test(name) && !/_PATH$/.test(name) ? "(set)" : value}`,
    )
    .sort();
  return { name: "environment", status: "ok", text: set.join("\n") || "no MLX_ or HF_ variables" };
}

async function folders(modelsDir: string | undefined, io: Io): Promise<Finding[]> {
  const path = modelsFolder(modelsDir, io.env);
  return [
    path === undefined
      ? { name: "models folder", status: "ok", text: "not set" }
      : await folder("models folder", path, { status: "warn", text: `${path} (no such folder)` }),
    await folder("hub cache", hubCacheDir(io.env), { status: "ok", text: `${hubCacheDir(io.env)} (empty)` }),
  ];
}

/** @param absent what to say when there is no such folder */
async function folder(name: string, path: string, absent: Omit<Finding, "name">): Promise<Finding> {
  let problem: string | undefined;
  const there = await isFolder(path, (told) => {
    problem = told;
  });
  if (problem !== undefined) return { name, status: "warn", text: problem };
  return { name, ...(there ? { status: "ok", text: path } : absent) };
}

function workerVersion(path: string, io: Io): Promise<Finding> {
  return attempt("version", async () => {
    const { code, stdout, stderr } = await runWorker(path, ["--version"], io.env);
    if (code === 0) return stdout.trim();
    throw new Error(`${path} --version ended with exit code ${code}: ${stderr.trim() || "no output"}`);
  });
}

/** Starts the worker as an application would. */
async function runtime(options: DoctorOptions, io: Io): Promise<Finding[]> {
  const engine = openEngine({ worker: options.worker, "models-dir": options["models-dir"] }, io);
  try {
    const findings = [
      await attempt("runtime", async () => {
        const { backend, device, mlxVersion, mlxCVersion, protocol, memory } = await engine.runtimeInfo();
        return [
          `backend ${backend}, device ${device.name}, ${bytes(device.memoryBytes)} of memory`,
          `MLX ${mlxVersion}, mlx-c ${mlxCVersion}, protocol ${protocol}`,
          `${bytes(memory.rssBytes)} resident`,
        ].join("\n");
      }),
    ];
    if (findings[0]?.status === "ok" && !options.skipSelfTest) {
      findings.push(await attempt("self-test", () => selfTest(engine, options.model)));
    }
    return findings;
  } finally {
    await engine.close({ drainMs: 0 });
  }
}
