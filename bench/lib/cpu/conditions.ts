import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { getPriority, loadavg } from "node:os";

/** What the machine could do, and what this run was given of it. */
export interface Conditions {
  /** Instruction sets of the processor that matter here; empty where the system does not tell. */
  readonly instructions: readonly string[];
  /** The run's nice value, which all engines inherit. */
  readonly niceness: number;
  /** The nice value of its session, where the kernel groups processes by session; null elsewhere. */
  readonly sessionNiceness: number | null;
  /** Mean number of running processes of the last minute, before the run. */
  readonly load: number;
}

const INSTRUCTIONS = ["avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512_vnni", "amx_int8"];

/** The conditions that a run begins under. */
export async function thisRun(): Promise<Conditions> {
  return {
    instructions: instructionsOf(await readIfThere("/proc/cpuinfo")),
    niceness: getPriority(),
    sessionNiceness: sessionNiceness(
      await readIfThere("/proc/sys/kernel/sched_autogroup_enabled"),
      await readIfThere("/proc/self/autogroup"),
    ),
    load: loadavg()[0] ?? 0,
  };
}

async function readIfThere(path: string): Promise<string> {
  return existsSync(path) ? readFile(path, "utf8") : "";
}

/** The instruction sets that /proc/cpuinfo names. */
export function instructionsOf(cpuinfo: string): string[] {
  const flags = new Set(/^flags\s*:(.*)$/m.exec(cpuinfo)?.[1]?.trim().split(/\s+/) ?? []);
  return INSTRUCTIONS.filter((name) => flags.has(name));
}

/** The nice value of a session, from whether sessions count and /proc/self/autogroup. */
export function sessionNiceness(enabled: string, autogroup: string): number | null {
  const value = /nice (-?\d+)/.exec(autogroup)?.[1];
  return enabled.trim() === "1" && value !== undefined ? Number(value) : null;
}
