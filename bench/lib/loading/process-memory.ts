import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** Memory of a process as Linux tells it, bytes. */
export interface ProcessMemory {
  /** VmRSS: the sum of the next three. */
  readonly resident: number;
  /** RssAnon: what belongs to the process alone. */
  readonly anonymous: number;
  /** RssFile: pages of mapped files, which the system may take back at any time: code, and a mapped model. */
  readonly file: number;
  /** RssShmem. */
  readonly shared: number;
  /** VmHWM: the most that VmRSS has ever been. */
  readonly peak: number;
}

/** The memory that the text of /proc/PID/status tells; null where a line is missing. */
export function parseStatus(text: string): ProcessMemory | null {
  const bytes = (name: string): number => {
    const kibibytes = new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(text)?.[1];
    return kibibytes === undefined ? Number.NaN : Number(kibibytes) * 1024;
  };
  const memory = {
    resident: bytes("VmRSS"),
    anonymous: bytes("RssAnon"),
    file: bytes("RssFile"),
    shared: bytes("RssShmem"),
    peak: bytes("VmHWM"),
  };
  return Object.values(memory).some(Number.isNaN) ? null : memory;
}

/** The bytes that the text of /proc/PID/io says were fetched from storage; null where the line is missing. */
export function parseStorageReads(text: string): number | null {
  const bytes = /^read_bytes: (\d+)$/m.exec(text)?.[1];
  return bytes === undefined ? null : Number(bytes);
}

/** A file of /proc about a process; empty where there is none, or where it may not be read. */
function procFile(pid: number, name: string): Promise<string> {
  return readFile(`/proc/${pid}/${name}`, "utf8").catch(() => "");
}

/** Memory of a process; null when it is gone or the platform does not tell. */
export async function processMemory(pid: number): Promise<ProcessMemory | null> {
  return parseStatus(await procFile(pid, "status"));
}

/** Bytes that a process has had fetched from storage; null when the platform does not tell. */
export async function storageReads(pid: number): Promise<number | null> {
  return parseStorageReads(await procFile(pid, "io"));
}

/** The most of each kind of memory in a series of samples; the kinds may have peaked at different moments. */
export function highest(samples: readonly ProcessMemory[]): ProcessMemory | null {
  const most = (kind: keyof ProcessMemory): number => Math.max(...samples.map((sample) => sample[kind]));
  if (samples.length === 0) return null;
  return {
    resident: most("resident"),
    anonymous: most("anonymous"),
    file: most("file"),
    shared: most("shared"),
    peak: most("peak"),
  };
}

const SAMPLE_MS = 10;

/** Samples a process's memory while work is under way, and once at its end. */
export async function watchMemory<Result>(
  pid: number,
  work: () => Promise<Result>,
): Promise<{ result: Result; most: ProcessMemory | null }> {
  const samples: ProcessMemory[] = [];
  const end = new AbortController();
  const sample = async (): Promise<void> => {
    const memory = await processMemory(pid);
    if (memory) samples.push(memory);
  };
  const watching = (async () => {
    while (!end.signal.aborted) {
      await sample();
      await sleep(SAMPLE_MS, undefined, { signal: end.signal }).catch(() => undefined);
    }
  })();
  try {
    const result = await work();
    await sample();
    return { result, most: highest(samples) };
  } finally {
    end.abort();
    await watching;
  }
}
