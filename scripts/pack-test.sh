#!/usr/bin/env bash
# Packs, installs the tarballs into an empty folder and uses them as an application would: as ES module,
# CommonJS, TypeScript and a bundled server, with the real worker and, if it is there, the test model.
# Nothing of this repository or of a toolchain is on the path of what runs.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logged pack "$ROOT/scripts/pack.sh"
client=("$ROOT"/dist/mlx-worker-[0-9]*.tgz)
node "$ROOT/scripts/size-budget.mjs" "${client[0]}" >&2 ||
  die "the npm package is over its budget (scripts/size-budget.mjs)"
app=$(scratch)
trap 'rm -rf "$app"' EXIT
cd "$app"
echo '{ "name": "app", "private": true }' >package.json
logged pack-install npm install --no-audit --no-fund "$ROOT"/dist/*.tgz

model=$(find -L "$DEPS/models" -name '*.gguf' 2>/dev/null | head -n 1)
[ -n "$model" ] || die "the test model is missing: run make model"
use='
const engine = createEngine();
const { backend } = await engine.runtimeInfo();
await engine.loadModel({ model: "m", localPath: process.env.TEST_MODEL });
const messages = [{ role: "user" as const, content: "What is the capital of France?" }];
const answer = await engine.generate({ model: "m", messages, maxTokens: 16, temperature: 0 });
await engine.close();
if (!answer.text.includes("Paris")) throw new Error("the answer is " + answer.text);
console.log(backend, "ok");'
javascript=${use// as const/}
{
  echo 'import { createEngine } from "mlx-worker";'
  echo "$javascript"
} >esm.mjs
{
  echo 'const { createEngine } = require("mlx-worker"); (async () => {'
  echo "$javascript"
  echo '})();'
} >commonjs.cjs
{
  echo 'import { createEngine } from "mlx-worker";'
  echo "$use"
} >typescript.mts
"$ROOT/node_modules/.bin/tsc" --strict --module nodenext --target es2022 --skipLibCheck false \
  --types node --typeRoots "$ROOT/node_modules/@types" --outDir . typescript.mts
# As server frameworks bundle: everything but what they are told to leave out.
"$ROOT/node_modules/.bin/esbuild" esm.mjs --bundle --platform=node --format=esm --external:mlx-worker \
  --outfile=bundle/server.mjs --log-level=warning

node=$(command -v node)
for program in esm.mjs commonjs.cjs typescript.mjs bundle/server.mjs; do
  printed=$(env -i PATH=/nonexistent HOME="$app" TEST_MODEL="$model" "$node" "$program") || die "$program failed"
  say "$program: $printed"
done
env -i PATH=/nonexistent HOME="$app" "$app"/node_modules/@mlx-worker/*/bin/mlx-worker --check >/dev/null
