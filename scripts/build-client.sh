#!/usr/bin/env bash
# Installs the npm packages that package-lock.json names and builds js-client/dist, each only when
# what it is made from changed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

# The stamp lies inside node_modules, so that it goes when the folder goes.
packages=$(hash_tree package.json package-lock.json js-client/package.json)
stamp=node_modules/.mlx-worker
if [ "$(cat "$stamp" 2>/dev/null || true)" != "$packages" ]; then
  timed "installing npm packages" "30 s" logged npm-ci npm ci --no-audit --no-fund
  printf '%s\n' "$packages" >"$stamp"
fi

sources=$(hash_tree js-client/src js-client/package.json js-client/tsconfig.json js-client/tsdown.config.ts \
  tsconfig.base.json package-lock.json)
if [ ! -f js-client/dist/index.mjs ] || ! stamp_is client "$sources"; then
  timed "building js-client" "5 s" logged npm-build npm run --silent build -w js-client
  set_stamp client "$sources"
fi
