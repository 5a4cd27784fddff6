// Checks the npm package of the client against its budget: node scripts/size-budget.mjs [TARBALL]
// Without a tarball it packs js-client as it lies there, with what was built last.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

/** The most that each figure may be. What grows beyond it has to be worth it: say why where it is raised. */
const BUDGET = {
  "bytes of the tarball": 190_000,
  "bytes unpacked": 700_000,
  files: 24,
  "runtime dependencies": 1,
  "platform packages": 3,
  "install scripts": 0,
};

const TAR_BLOCK = 512;
const CLIENT = fileURLToPath(new URL("../js-client", import.meta.url));

const figures = process.argv[2] === undefined ? packed() : measure(process.argv[2]);
let exceeded = false;
for (const [what, most] of Object.entries(BUDGET)) {
  const figure = figures[what];
  const over = figure > most;
  exceeded ||= over;
  console.log(`${String(figure).padStart(9)} ${what}, at most ${most}${over ? "  <-- over the budget" : ""}`);
}
process.exitCode = exceeded ? 1 : 0;

function packed() {
  const folder = mkdtempSync(join(tmpdir(), "mlx-worker-size-"));
  try {
    execFileSync("npm", ["pack", "--silent", "--pack-destination", folder], { cwd: CLIENT, stdio: "pipe" });
    const [tarball] = readdirSync(folder);
    return measure(join(folder, tarball));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function measure(tarball) {
  const compressed = readFileSync(tarball);
  const files = filesOf(gunzipSync(compressed));
  const manifest = JSON.parse(files.get("package/package.json").toString("utf8"));
  const scripts = Object.keys(manifest.scripts ?? {}).filter((name) =>
    /^(pre|post)?install$|^prepare$/.test(name),
  );
  return {
    "bytes of the tarball": compressed.length,
    "bytes unpacked": [...files.values()].reduce((sum, { length }) => sum + length, 0),
    files: files.size,
    "runtime dependencies": Object.keys(manifest.dependencies ?? {}).length,
    "platform packages": Object.keys(manifest.optionalDependencies ?? {}).length,
    "install scripts": scripts.length,
  };
}

/** The files of a tar archive by name. npm writes plain ustar headers for names as short as these. */
function filesOf(archive) {
  const files = new Map();
  for (let at = 0; at + TAR_BLOCK <= archive.length; ) {
    const name = text(archive, at, 100);
    if (name === "") break;
    const size = Number.parseInt(text(archive, at + 124, 12), 8);
    const start = at + TAR_BLOCK;
    files.set(name, archive.subarray(start, start + size));
    at = start + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
  return files;
}

function text(archive, start, length) {
  const field = archive.subarray(start, start + length);
  const end = field.indexOf(0);
  return field.toString("latin1", 0, end === -1 ? length : end).trim();
}
