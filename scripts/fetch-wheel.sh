#!/usr/bin/env bash
# Unpacks pinned wheels into one folder of the cache and prints that folder.
#
#   fetch-wheel.sh NAME WHAT USUAL PIN...
#
# NAME starts the folder's name, WHAT and USUAL are for the progress line, each PIN is one PIN_* of
# versions.env. Once there, a folder never changes: its name holds a hash of the pins and the platform.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

name=$1 what=$2 usual=$3
shift 3

platform="$OS-$ARCH"
# A newer macOS gets another MLX wheel.
if [ "$OS" = Darwin ]; then platform="$platform-$(sw_vers -productVersion | cut -d . -f 1)"; fi
folder=$CACHE/$name-$(printf '%s\n' "$platform" "$@" | hash_text)

install_wheels() {
  [ -d "$folder" ] && return
  local tmp
  tmp=$(scratch)
  # shellcheck disable=SC2064 # tmp is local
  trap "rm -rf '$tmp'" EXIT
  # Options that follow a requirement stand on its line in pip's format.
  for pin in "$@"; do printf '%s\n' "$pin" | tr -s '\n ' ' ' && echo; done >"$tmp/requirements.txt"
  PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 logged "$name" python3 -m pip install \
    --disable-pip-version-check --no-input --no-deps --only-binary=:all: --no-compile \
    --require-hashes --requirement "$tmp/requirements.txt" --target "$tmp/wheels"
  chmod 755 "$tmp/wheels"
  mv "$tmp/wheels" "$folder"
}

if [ ! -d "$folder" ]; then
  timed "$what" "$usual" with_lock "$(basename "$folder")" install_wheels "$@"
fi
printf '%s\n' "$folder"
