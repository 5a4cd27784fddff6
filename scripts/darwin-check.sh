#!/usr/bin/env bash
# Type-checks all Go code, cgo included, for macOS on Apple silicon, on any machine: go vet compiles
# every package and its tests. Only the final link needs a Mac. Needs make setup for the headers.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_deps
zig=$("$ROOT/scripts/fetch-wheel.sh" "zig-$ZIG_VERSION" "fetching zig $ZIG_VERSION (90 MB)" "20 s" "$PIN_ZIG")/ziglang/zig
[ -x "$zig" ] || die "the wheel of ziglang $ZIG_VERSION has no program zig"
go_env
export ZIG_GLOBAL_CACHE_DIR=$CACHE/zig ZIG_LOCAL_CACHE_DIR=$CACHE/zig
export GOOS=darwin GOARCH=arm64 CGO_ENABLED=1
export CGO_CFLAGS="$CGO_CFLAGS -isystem $ROOT/scripts/darwin"
export CC="$zig cc -target aarch64-macos" CXX="$zig c++ -target aarch64-macos"

cd "$ROOT"
timed "type-checking for darwin/arm64" "1 minute" go vet ./...
