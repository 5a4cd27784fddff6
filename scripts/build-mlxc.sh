#!/usr/bin/env bash
# Builds mlx-c as a static library against an unpacked MLX wheel, into the cache; prints the folder.
#
#   build-mlxc.sh MLX_FOLDER     the folder that holds the wheel's mlx/
#
# The source is inside the crate mlx-sys, which text/native/Cargo.toml names for this purpose alone:
# cargo fetches and checks it, and never compiles it.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mlx=$1
cxx=${CXX:-c++}
manifest=$ROOT/text/native/Cargo.toml

key=$({
  printf '%s\n' "$OS-$ARCH" "$mlx" "$MLX_SYS_VERSION"
  "$cxx" --version | head -n 1
  hash_tree scripts/mlx-c scripts/build-mlxc.sh
} | hash_text)
folder=$CACHE/mlx-c-$MLX_C_VERSION-$key

# source_folder: fetches the crates and prints the folder of mlx-c's source.
source_folder() {
  logged cargo-fetch cargo fetch --locked --manifest-path "$manifest"
  cargo metadata --locked --offline --format-version 1 --manifest-path "$manifest" |
    python3 -c '
import json, os, sys

wanted = sys.argv[1]
found = [p for p in json.load(sys.stdin)["packages"] if p["name"] == "mlx-sys"]
versions = [p["version"] for p in found]
if versions != [wanted]:
    sys.exit("text/native/Cargo.lock has mlx-sys %s, versions.env wants %s" % (versions, wanted))
print(os.path.join(os.path.dirname(found[0]["manifest_path"]), "src", "mlx-c"))
' "$MLX_SYS_VERSION"
}

# pick_tool NAME MINIMUM VERSION PIN: prints the command to use: the system's own if new enough,
# else the wheel's.
pick_tool() {
  local name=$1 minimum=$2 version=$3 pin=$4 have wheel
  have=$("$name" --version 2>/dev/null | head -n 1) || have=
  if [ -n "$have" ] && version_at_least "${have#"$name" version }" "$minimum"; then
    printf '%s\n' "$name"
    return
  fi
  wheel=$("$ROOT/scripts/fetch-wheel.sh" "$name-$version" "fetching $name $version" "10 s" "$pin")
  for path in "$wheel/$name/data/bin/$name" "$wheel/bin/$name"; do
    if [ -x "$path" ]; then
      printf '%s\n' "$path"
      return
    fi
  done
  die "the wheel of $name $version has no program $name"
}

build() {
  [ -d "$folder" ] && return
  local tmp src cmake ninja
  tmp=$(scratch)
  # shellcheck disable=SC2064 # tmp is local
  trap "rm -rf '$tmp'" EXIT
  src=$(source_folder)
  cmake=$(pick_tool cmake "$CMAKE_MIN" "$CMAKE_VERSION" "$PIN_CMAKE")
  ninja=$(pick_tool ninja "$NINJA_MIN" "$NINJA_VERSION" "$PIN_NINJA")

  logged mlx-c-configure "$cmake" -S "$src" -B "$tmp/build" -G Ninja "-DCMAKE_MAKE_PROGRAM=$(command -v "$ninja")" \
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DCMAKE_INSTALL_LIBDIR=lib \
    -DMLX_C_BUILD_EXAMPLES=OFF -DMLX_C_USE_SYSTEM_MLX=ON "-DMLX_DIR=$mlx/mlx/share/cmake/MLX" \
    "-DCMAKE_CXX_FLAGS=-include \"$ROOT/scripts/mlx-c/compat.h\" -I\"$src\""
  logged mlx-c-build "$cmake" --build "$tmp/build"
  logged mlx-c-install "$cmake" --install "$tmp/build" --prefix "$tmp/out"
  cp "$src/LICENSE" "$tmp/out/LICENSE"
  mv "$tmp/out" "$folder"
}

if [ ! -d "$folder" ]; then
  if [ "$OS" = Darwin ]; then export MACOSX_DEPLOYMENT_TARGET=${MACOSX_DEPLOYMENT_TARGET:-14.0}; fi
  timed "building mlx-c $MLX_C_VERSION" "1 minute on 2 cores" with_lock "$(basename "$folder")" build
fi
printf '%s\n' "$folder"
