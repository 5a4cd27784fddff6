# Shared by the scripts of this folder: sourced, never run. Works with the bash 3.2 of macOS.
# shellcheck shell=bash
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
DEPS=$ROOT/.deps
# shellcheck source=versions.env
. "$ROOT/scripts/versions.env"

CACHE=${MLX_WORKER_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: set MLX_WORKER_CACHE}/.cache}/mlx-worker}
case $CACHE in
/*) ;;
*) CACHE=$PWD/$CACHE ;;
esac
# Scripts that this one starts must see the same folder, whatever their working directory.
export MLX_WORKER_CACHE=$CACHE

OS=$(uname -s)
ARCH=$(uname -m)

# say LINE...: a progress line. On stderr, since some scripts print a folder on stdout.
say() { printf 'mlx-worker: %s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# version_at_least HAVE WANT: whether dotted version HAVE is WANT or newer.
version_at_least() {
  local have want i
  IFS=. read -r -a have <<<"${1%%[!0-9.]*}"
  IFS=. read -r -a want <<<"$2"
  for i in 0 1 2; do
    [ "${have[i]:-0}" -gt "${want[i]:-0}" ] && return 0
    [ "${have[i]:-0}" -lt "${want[i]:-0}" ] && return 1
  done
  return 0
}

if command -v sha256sum >/dev/null; then sha256=(sha256sum); else sha256=(shasum -a 256); fi

# hash_text: twelve hex digits for what comes on stdin.
hash_text() { "${sha256[@]}" | cut -c 1-12; }

# hash_tree PATH...: twelve hex digits for names and contents of the files under PATHs, which are
# relative to the repository, so that two clones agree. Build output does not count.
hash_tree() {
  (
    cd "$ROOT"
    find "$@" -type f ! -path '*/target/*' ! -path '*/dist/*' ! -name .DS_Store -print |
      LC_ALL=C sort | tr '\n' '\0' | xargs -0 "${sha256[@]}" | hash_text
  )
}

# choose_backend: prints cpu, cuda or metal: BACKEND if given, else what this clone was last set up
# with, else the platform's own.
choose_backend() {
  local backend=${BACKEND:-}
  if [ -z "$backend" ] && [ -f "$DEPS/.stamps/backend" ]; then
    backend=$(cat "$DEPS/.stamps/backend")
  fi
  case $OS-$ARCH in
  Linux-x86_64 | Linux-aarch64)
    : "${backend:=cpu}"
    case $backend in cpu | cuda) ;; *) die "BACKEND=$backend: Linux has cpu and cuda" ;; esac
    ;;
  Darwin-arm64)
    : "${backend:=metal}"
    [ "$backend" = metal ] ||
      die "BACKEND=$backend: macOS has metal only (that build of MLX contains the CPU device too)"
    ;;
  *) die "$OS on $ARCH is not supported: MLX $MLX_VERSION is published for Linux x86-64 and arm64 and for macOS arm64" ;;
  esac
  printf '%s\n' "$backend"
}

# with_lock NAME COMMAND...: runs COMMAND while this process alone holds NAME among all clones that
# share the cache. The lock belongs to an open descriptor, so it ends with its holder, even a killed
# one. flock(1) is missing on macOS, and Python is needed anyway.
with_lock() {
  local name=$1
  shift
  mkdir -p "$CACHE/locks"
  (
    exec 9>"$CACHE/locks/$name"
    python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null || {
      say "waiting for another set-up that works on $name"
      python3 -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    }
    "$@" 9>&-
  )
}

# logged NAME COMMAND...: runs COMMAND with its output in a file of the cache. On failure prints the
# file's ends, since npm names the cause first and compilers last, then its name, and exits.
logged() {
  local log=$CACHE/logs/$1-$$.log
  shift
  mkdir -p "$CACHE/logs"
  if "$@" >"$log" 2>&1 </dev/null; then
    rm -f "$log"
    return
  fi
  if [ "$(wc -l <"$log")" -gt 40 ]; then
    { head -n 10 "$log" && echo '[...]' && tail -n 30 "$log"; } >&2
  else
    cat "$log" >&2
  fi
  die "this failed: $* (everything it printed: $log)"
}

# timed WHAT USUAL COMMAND...: a progress line before COMMAND, for work that takes over two seconds,
# and the time taken after it.
timed() {
  local what=$1 usual=$2 start=$SECONDS
  shift 2
  say "$what (usually $usual) ..."
  "$@"
  say "  done in $((SECONDS - start)) s"
}

# scratch: a fresh folder on the cache's file system, so that a rename out of it is atomic.
scratch() {
  mkdir -p "$CACHE/tmp"
  # What killed set-ups left behind.
  find "$CACHE/tmp" "$CACHE/logs" -mindepth 1 -maxdepth 1 -mtime +1 -exec rm -rf {} + 2>/dev/null || true
  mktemp -d "$CACHE/tmp/XXXXXX"
}

# link_dep NAME TARGET: makes .deps/NAME point at TARGET in one step; what runs meanwhile sees the
# old or the new one.
link_dep() {
  local link=$DEPS/$1 target=$2
  [ "$(readlink "$link" || true)" = "$target" ] && return
  mkdir -p "$(dirname "$link")"
  rm -f "$link.new.$$"
  ln -s "$target" "$link.new.$$"
  # mv would move the new link into the folder that the old one points at.
  python3 -c 'import os, sys; os.replace(sys.argv[1], sys.argv[2])' "$link.new.$$" "$link" ||
    die "$link is in the way: remove it and run make setup again"
}

# stamp_is NAME VALUE / set_stamp NAME VALUE: what this clone was last built from.
stamp_is() { [ "$(cat "$DEPS/.stamps/$1" 2>/dev/null || true)" = "$2" ]; }
set_stamp() {
  mkdir -p "$DEPS/.stamps"
  printf '%s\n' "$2" >"$DEPS/.stamps/$1"
}

# native_headers_key: changes when a C or C++ header that the Go packages include does.
native_headers_key() {
  local name
  {
    for name in mlx mlxc openblas; do readlink "$DEPS/$name" || true; done
    hash_tree text/native/include
  } | hash_text
}

# libraries_key: changes when a library that Go binaries link does. Go's build cache looks at the path
# of such a file only; passing the key to the linker (-X main.libraries=KEY) makes it link, and test,
# again.
libraries_key() { readlink "$DEPS/mlx" "$DEPS/mlxc" "$DEPS/text" | hash_text; }

need_deps() {
  local name
  for name in mlx mlxc text; do
    [ -e "$DEPS/$name/." ] || die "$DEPS/$name is missing: run make setup"
  done
}

# go_env: exports what go commands of the scripts share.
go_env() {
  # Go's build cache does not look into headers outside a package. A macro that names them makes it
  # compile again when they change.
  local macro
  macro=-DMLX_WORKER_HEADERS_$(native_headers_key)
  export CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} $macro" CGO_CXXFLAGS="${CGO_CXXFLAGS:--O2 -g} $macro"
  # The CUDA libmlx needs the driver's libcuda.so.1, which a machine that only builds lacks.
  if stamp_is backend cuda; then export CGO_LDFLAGS="${CGO_LDFLAGS:--O2 -g} -Wl,--allow-shlib-undefined"; fi
  if [ "$OS" = Darwin ]; then export MACOSX_DEPLOYMENT_TARGET=${MACOSX_DEPLOYMENT_TARGET:-14.0}; fi
}

# cargo_env: exports what cargo commands of the scripts share. The build folder belongs to this clone:
# cargo takes crates of two clones for one and compares them by time stamps alone. The flags keep
# paths of this machine out of panic messages.
cargo_env() {
  export CARGO_TARGET_DIR=$DEPS/cargo-target
  export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
  if [ "$OS" = Darwin ]; then export MACOSX_DEPLOYMENT_TARGET=${MACOSX_DEPLOYMENT_TARGET:-14.0}; fi
}
