import { defineConfig } from "tsdown";

const shared = { platform: "node", target: "node20", clean: true, sourcemap: false } as const;

/** Their licences are in src/cli/hub/THIRD_PARTY_LICENSES. */
const BUNDLED = ["@huggingface/hub", "@huggingface/xetchunk-wasm", "@huggingface/blake3-jit"];

export default defineConfig([
  {
    ...shared,
    entry: { index: "src/index.ts", compat: "src/compat/index.ts" },
    format: ["esm", "cjs"],
    dts: true,
    shims: true,
  },
  {
    // The command line. What talks to the hub is bundled into a chunk that only `pull` loads, so that the package
    // needs no dependency for it.
    ...shared,
    entry: { cli: "src/cli/bin.ts" },
    format: "esm",
    dts: false,
    noExternal: BUNDLED,
    inlineOnly: BUNDLED,
    copy: [{ from: "src/cli/hub/THIRD_PARTY_LICENSES", to: "dist" }],
  },
]);
