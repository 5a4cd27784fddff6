#!/usr/bin/env bash
# Every test there is, the real worker with a real model included. Needs make setup and make model.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/scripts/stages.sh"

static_stages
stage clippy rust clippy --release --all-targets -- -D warnings
stage cargo.txt rust_test
stage go-plain.json go_test plain -race -count=1 -timeout 5m
stage go-mlx.json go_test mlx -count=1 -timeout 30m
stage go-mlx-race.json go_test mlx-race -race -count=1 -timeout 30m
stage go-asan.json kernels_asan
stage vitest-unit.json vitest unit
stage vitest-bench.json vitest_bench
stage vitest-e2e.json vitest e2e
node_stages
stage reference npm run --silent docs:api
stage package scripts/pack-test.sh
finish
