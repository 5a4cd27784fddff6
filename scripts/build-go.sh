#!/usr/bin/env bash
# Builds bin/mlx-worker. Does nothing, within a second, when nothing changed.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_deps
go_env
cd "$ROOT"

version=$(sed -n 's/^ *"version": "\(.*\)",$/\1/p' package.json | head -n 1)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || true)
if [ -n "$commit" ]; then version=$version+$commit; fi

# Relative search paths come on top of the absolute ones in the cgo directives: a clone that was
# moved still starts, and so does an installed bin/ with a .deps/ beside it.
case $OS in
Linux)
  # shellcheck disable=SC2016 # the dynamic linker expands $ORIGIN
  external='-Wl,-rpath,$ORIGIN/../.deps/mlx/mlx/lib -Wl,-rpath,$ORIGIN/../.deps/mlxc/lib -Wl,-rpath,$ORIGIN/../.deps/openblas/scipy_openblas32/lib'
  ;;
Darwin)
  external='-Wl,-rpath,@loader_path/../.deps/mlx/mlx/lib -Wl,-rpath,@loader_path/../.deps/mlxc/lib'
  ;;
esac

# A build that has nothing to do should say nothing.
(sleep 2 >/dev/null 2>&1 && say "building bin/mlx-worker (usually 1 minute the first time, a few seconds later) ...") &
hint=$!
trap 'kill "$hint" 2>/dev/null || true' EXIT
logged go-build go build -trimpath -o bin/mlx-worker \
  -ldflags "-s -w -X main.version=$version -X main.libraries=$(libraries_key) -extldflags '$external'" ./cmd/mlx-worker
