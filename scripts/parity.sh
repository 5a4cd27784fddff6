#!/usr/bin/env bash
# Compares with what mlx-lm, tokenizers and jinja2 gave, and prints the table of families: every tiny
# model, the real one, sampling, load-time quantisation, real tokenizers and chat templates.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/text-parity.sh"
"$ROOT/scripts/model.sh"
need_deps
go_env
cd "$ROOT"
MLX_PARITY=all go test -count=1 -timeout 30m ./gpu -run 'EqualMLXLM|EqualsMLXLM|EqualConverted|EqualsSingleRuns|EqualSingleRuns'
go test -count=1 -timeout 10m ./gpu/nn ./gpu/sample ./text
go run ./internal/gen -check
sed -n '/^|/p' docs/models.md
