#!/usr/bin/env bash
# Builds the Rust static library of text/native into the cache; prints the folder.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

manifest=$ROOT/text/native/Cargo.toml
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$manifest" | head -n 1)
cargo_env
key=$({
  hash_tree text/native scripts/build-text.sh
  rustc -vV
  printf '%s\n' "$OS-$ARCH" "$RUSTFLAGS"
} | hash_text)
folder=$CACHE/text-$version-$key

build() {
  [ -d "$folder" ] && return
  local tmp
  tmp=$(scratch)
  # shellcheck disable=SC2064 # tmp is local
  trap "rm -rf '$tmp'" EXIT
  logged text cargo build --release --locked --manifest-path "$manifest"
  mkdir "$tmp/out"
  cp "$CARGO_TARGET_DIR/release/libmlxworker_text.a" "$tmp/out/"
  mv "$tmp/out" "$folder"
}

if [ ! -d "$folder" ]; then
  timed "building the text library (Rust)" "3 minutes on 2 cores, 30 s after a change" \
    with_lock "$(basename "$folder")" build
fi
printf '%s\n' "$folder"
