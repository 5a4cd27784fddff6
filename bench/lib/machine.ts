import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { arch, availableParallelism, cpus, platform, release, totalmem } from "node:os";
import { promisify } from "node:util";

/** The machine that a result was measured on. */
export interface Machine {
  readonly cpu: string;
  /** Cores that this process may use. */
  readonly cores: number;
  readonly memoryBytes: number;
  /** Platform, kernel release and architecture. */
  readonly os: string;
  readonly node: string;
}

/** Describes this machine. */
export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() || "unknown",
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    os: `${platform()} ${release()} ${arch()}`,
    node: process.version,
  };
}

/**
 * Resident memory of a process in bytes: VmRSS of /proc on Linux, ps elsewhere. Null when the process is gone
 * or the platform does not tell.
 */
export async function residentBytes(pid: number): Promise<number | null> {
  try {
    const kibibytes =
      platform() === "linux"
        ? /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]
        : (await promisify(execFile)("ps", ["-o", "rss=", "-p", String(pid)])).stdout.trim();
    return kibibytes ? Number(kibibytes) * 1024 : null;
  } catch {
    return null;
  }
}
