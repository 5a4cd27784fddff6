import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { firstFrame, probeStartup } from "../lib/startup-probe.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "startup-probe-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A script that stands for the worker. */
async function script(name: string, source: string): Promise<string[]> {
  const path = join(folder, `${name}.mjs`);
  await writeFile(path, source);
  return [path];
}

const FRAME = `
  const body = Buffer.from(text);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  process.stdout.write(head);
  process.stdout.write(body);
`;

describe("firstFrame", () => {
  test("waits for the whole body", () => {
    const frame = Buffer.from([0, 0, 0, 2, 65, 66, 0, 0]);
    for (let length = 0; length < 6; length++) expect(firstFrame(frame.subarray(0, length))).toBeUndefined();
    expect(firstFrame(frame)?.toString()).toBe("AB");
  });
});

describe("probeStartup", () => {
  test("measures time and memory and ends the worker by its stdin", async () => {
    const args = await script("good", `const text = "worker/ready"; ${FRAME} process.stdin.resume();`);
    const startup = await probeStartup(process.execPath, args);
    expect(startup.readyMs).toBeGreaterThan(0);
    expect(startup.residentBytes).toBeGreaterThan(1e6);
  });

  test("reports a worker that ends early, with its stderr", async () => {
    const args = await script("early", `console.error("MLX_FAST_PATH: bad"); process.exitCode = 2;`);
    await expect(probeStartup(process.execPath, args)).rejects.toThrow(
      /exit code 2[\s\S]*MLX_FAST_PATH: bad/,
    );
  });

  test("refuses another first frame and another exit code", async () => {
    const other = await script("other", `const text = "hello"; ${FRAME} process.stdin.resume();`);
    await expect(probeStartup(process.execPath, other)).rejects.toThrow("first frame is not worker/ready");
    const bad = await script(
      "bad-exit",
      `const text = "worker/ready"; ${FRAME} process.stdin.resume().on("end", () => process.exit(3));`,
    );
    await expect(probeStartup(process.execPath, bad)).rejects.toThrow("exit code 3");
  });

  test("names a file that cannot be run", async () => {
    await expect(probeStartup(join(folder, "missing"))).rejects.toThrow("ENOENT");
  });
});
