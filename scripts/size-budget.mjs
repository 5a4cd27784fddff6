// Checks the npm package of the client against its budget: node scripts/size-budget.mjs [TARBALL]
// Without a tarball it is what js-client as it lies there would pack to, with what was built last.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The most that each figure may be. What grows beyond it has to be worth it: say why where it is raised. */
const BUDGET = {
  "bytes of the tarball": 190_000,
  "bytes unpacked": 700_000,
  files: 24,
  "runtime dependencies": 1,
  "platform packages": 3,
  "install scripts": 0,
};

const CLIENT = fileURLToPath(new URL("../js-client", import.meta.url));

const tarball = process.argv[2];
const figures = measure();
let exceeded = false;
for (const [what, most] of Object.entries(BUDGET)) {
  const figure = figures[what];
  const over = figure > most;
  exceeded ||= over;
  console.log(`${String(figure).padStart(9)} ${what}, at most ${most}${over ? "  <-- over the budget" : ""}`);
}
process.exitCode = exceeded ? 1 : 0;

function measure() {
  const options = { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] };
  const source = tarball === undefined ? CLIENT : resolve(tarball);
  const [pack] = JSON.parse(
    execFileSync("npm", ["pack", "--dry-run", "--json", "--silent", source], options),
  );
  const manifest = JSON.parse(
    tarball === undefined
      ? readFileSync(join(CLIENT, "package.json"), "utf8")
      : execFileSync("tar", ["-xzOf", source, "package/package.json"], options),
  );
  const scripts = Object.keys(manifest.scripts ?? {}).filter((name) =>
    /^(pre|post)?install$|^prepare$/.test(name),
  );
  return {
    "bytes of the tarball": pack.size,
    "bytes unpacked": pack.unpackedSize,
    files: pack.entryCount,
    "runtime dependencies": Object.keys(manifest.dependencies ?? {}).length,
    "platform packages": Object.keys(manifest.optionalDependencies ?? {}).length,
    "install scripts": scripts.length,
  };
}
