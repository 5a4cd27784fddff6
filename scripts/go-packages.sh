#!/usr/bin/env bash
# Prints this module's Go packages, one a line:
#   go-packages.sh mlx     those whose tests link MLX
#   go-packages.sh plain   all others: quick to test, and with the race detector
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

all=$(go list ./...)
# A package's tests appear as "PACKAGE [PACKAGE.test]", "PACKAGE_test [PACKAGE.test]" and "PACKAGE.test".
mlx=$(go list -test -f '{{if .ForTest}}{{.ForTest}}{{else}}{{.ImportPath}}{{end}} {{join .Deps " "}}' ./... |
  awk '{ for (i = 1; i <= NF; i++) if ($i == "mlx-worker/gpu/mlx") { sub(/\.test$/, "", $1); print $1; next } }' | sort -u)

case ${1:-} in
mlx) printf '%s\n' "$mlx" ;;
plain) printf '%s\n' "$all" | grep -vxF "$mlx" ;;
*) die "usage: go-packages.sh mlx|plain" ;;
esac
