import { createRequire } from "node:module";

/** Version of this package. */
export function packageVersion(): string {
  const require = createRequire(import.meta.url);
  // dist/ is one folder below the package, src/cli/ two.
  for (const path of ["../package.json", "../../package.json"]) {
    try {
      const { name, version } = require(path) as { name?: string; version?: string };
      if (name === "mlx-worker" && version !== undefined) return version;
    } catch {
      // The other layout.
    }
  }
  return "unknown";
}
