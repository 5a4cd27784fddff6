#!/usr/bin/env bash
# Names every missing tool with what installs it, before anything is built. Prints nothing when all
# is there.
#
#   check-tools.sh [TOOL...]     system go node python rust compiler; without arguments all of them
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

problems=()

# missing WHAT LINUX MACOS: notes a missing or too old tool and what installs it on either system.
missing() {
  local install=$2
  if [ "$OS" = Darwin ]; then install=$3; fi
  problems+=("$1
    $install")
}

# found TOOL...: whether all are on the PATH.
found() {
  local tool
  for tool in "$@"; do command -v "$tool" >/dev/null || return 1; done
}

check_go() {
  local install="apt-get install golang-go where that is Go $GO_MIN or newer, else the archive from https://go.dev/dl" have
  # Inside the module, so that a Go which fetches the toolchain that go.mod asks for counts as that one.
  have=$(cd "$ROOT" && go env GOVERSION 2>/dev/null) || have=
  version_at_least "${have#go}" "$GO_MIN" && return
  missing "Go $GO_MIN or newer${have:+ (found ${have#go})}" "$install" "brew install go"
}

check_node() {
  local have
  have=$(node --version 2>/dev/null) || have=
  if ! version_at_least "${have#v}" "$NODE_MIN"; then
    missing "Node.js $NODE_MIN or newer${have:+ (found ${have#v})}" \
      "apt-get install nodejs npm where that is Node.js $NODE_MIN or newer, else from https://nodejs.org" "brew install node"
  elif ! found npm; then
    missing "npm" "apt-get install npm" "brew install node"
  fi
}

check_python() {
  local have
  have=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || have=
  if ! version_at_least "$have" "$PYTHON_MIN"; then
    missing "Python $PYTHON_MIN or newer${have:+ (found $have)}" \
      "apt-get install python3 python3-pip python3-venv" "brew install python"
  elif ! python3 -c 'import pip, venv, ensurepip' 2>/dev/null; then
    missing "pip and venv of $(command -v python3)" "apt-get install python3-pip python3-venv" "brew install python"
  fi
}

check_rust() {
  local have
  have=$(cd "$ROOT" && cargo --version 2>/dev/null) || have=
  have=${have#cargo }
  version_at_least "$have" "$CARGO_MIN" && return
  if [ -n "$have" ] && found rustup; then
    missing "Rust $CARGO_MIN or newer (found ${have%% *})" "rustup update stable" "rustup update stable"
  else
    missing "Rust $CARGO_MIN or newer${have:+ (found ${have%% *})}" \
      "apt-get install rustup && rustup default stable, or the installer from https://rustup.rs" \
      "brew install rustup && rustup default stable"
  fi
}

check_compiler() {
  # gcc: cgo calls the C compiler by that name on Linux.
  found "${CC:-cc}" "${CXX:-c++}" || {
    missing "a C and C++ compiler (C++20)" "apt-get install gcc g++" "xcode-select --install"
    return
  }
  printf '#include <version>\n#include <span>\n' | "${CXX:-c++}" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null ||
    missing "a C++ compiler that knows C++20 (${CXX:-c++} does not)" "apt-get install g++" "xcode-select --install"
}

check_system() {
  local have
  case $OS in
  Linux)
    have=$(getconf GNU_LIBC_VERSION 2>/dev/null) || have=
    version_at_least "${have#glibc }" "$GLIBC_MIN" ||
      die "glibc $GLIBC_MIN or newer is needed by MLX's wheels (found: ${have:-none}): Debian 12, Ubuntu 22.04 or newer"
    ;;
  Darwin)
    have=$(sw_vers -productVersion)
    version_at_least "$have" 14 || die "macOS 14 or newer is needed by MLX's wheels (found: $have)"
    ;;
  esac
}

[ "$#" -gt 0 ] || set -- system go node python rust compiler
for tool in "$@"; do "check_$tool"; done

if [ "${#problems[@]}" -gt 0 ]; then
  say "these tools are missing; nothing was built:"
  printf '  - %s\n' "${problems[@]}" >&2
  exit 1
fi
