#!/usr/bin/env bash
# What a change must pass before it is committed: format, vet, linters,
# types and the unit tests that need neither MLX nor a model.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
. "$ROOT/scripts/stages.sh"

static_stages
stage go-plain.json go_test plain -timeout 2m
stage vitest-unit.json vitest unit
stage vitest-bench.json vitest_bench
finish
