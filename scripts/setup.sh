#!/usr/bin/env bash
# Makes a clone ready: native dependencies, the worker, the client. Safe to run at any time and in
# several clones at once; what is already there is not made again.
#
# What is slow to make lies in the user's cache under a name that holds a hash of all it was made
# from, and .deps/ holds links to it. Environment:
#   BACKEND            cpu or cuda (Linux), metal (macOS); default: as last time, else cpu or metal
#   MLX_WORKER_CACHE   the cache folder; default: mlx-worker in the user's cache folder
#   MLX_C_PREFIX       use the mlx-c installed there (include/, lib/), and MLX too if it is there
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
scripts=$ROOT/scripts

# mlx_c_version PREFIX / mlx_version PREFIX: the version installed under PREFIX, or nothing.
mlx_c_version() {
  local file=$1/share/cmake/MLXC/MLXCConfigVersion.cmake
  # gpu/mlx links the archive.
  [ -f "$1/lib/libmlxc.a" ] && [ -f "$file" ] || return 0
  sed -n 's/^ *set(PACKAGE_VERSION "\([0-9.]*\)")$/\1/p' "$file"
}
mlx_version() {
  local file=$1/include/mlx/version.h
  [ -f "$1/lib/libmlx.so" ] || [ -f "$1/lib/libmlx.dylib" ] || return 0
  [ -f "$file" ] || return 0
  sed -nE 's/^#define MLX_VERSION_(MAJOR|MINOR|PATCH) ([0-9]+)$/\2/p' "$file" | paste -s -d . -
}

# fits_mlx_c PREFIX: whether a release of the same minor version is there.
fits_mlx_c() {
  case $(mlx_c_version "$1") in "${MLX_C_VERSION%.*}".*) return 0 ;; *) return 1 ;; esac
}

# find_installed: sets mlxc, and mlx if that prefix has it too, to an installed mlx-c that fits.
find_installed() {
  local brew=${HOMEBREW_PREFIX:-/opt/homebrew}/opt have file
  if [ -n "${MLX_C_PREFIX:-}" ]; then
    for file in include/mlx/c/mlx.h lib/libmlxc.a share/cmake/MLXC/MLXCConfigVersion.cmake; do
      [ -f "$MLX_C_PREFIX/$file" ] || die "MLX_C_PREFIX=$MLX_C_PREFIX has no $file: a static mlx-c is needed"
    done
    fits_mlx_c "$MLX_C_PREFIX" ||
      die "MLX_C_PREFIX=$MLX_C_PREFIX holds mlx-c $(mlx_c_version "$MLX_C_PREFIX"); ${MLX_C_VERSION%.*}.* is needed"
    have=$(mlx_version "$MLX_C_PREFIX")
    [ -z "$have" ] || [ "$have" = "$MLX_VERSION" ] ||
      die "MLX_C_PREFIX=$MLX_C_PREFIX holds MLX $have; $MLX_VERSION is needed"
    mlxc=$(cd "$MLX_C_PREFIX" && pwd -P)
    if [ -n "$have" ]; then mlx_prefix=$mlxc; fi
    say "using mlx-c $(mlx_c_version "$mlxc") from MLX_C_PREFIX${have:+ with its MLX $have}"
  elif [ "$OS" = Darwin ] && [ -d "$brew/mlx-c" ]; then
    if fits_mlx_c "$brew/mlx-c" && [ "$(mlx_version "$brew/mlx")" = "$MLX_VERSION" ]; then
      mlxc=$brew/mlx-c mlx_prefix=$brew/mlx
      say "using Homebrew's mlx-c $(mlx_c_version "$mlxc") and MLX $MLX_VERSION"
    else
      say "Homebrew's mlx-c is not static $MLX_C_VERSION with MLX $MLX_VERSION: building our own"
    fi
  fi
}

# wrap_mlx PREFIX: prints a folder with the layout of the wheel, mlx/{include,lib}, for an installed MLX.
wrap_mlx() {
  local folder
  folder=$CACHE/mlx-installed-$(printf '%s\n' "$1" | hash_text)
  mkdir -p "$folder"
  ln -sfn "$1" "$folder/mlx"
  printf '%s\n' "$folder"
}

fetch_mlx() {
  case $1 in
  cpu) "$scripts/fetch-wheel.sh" "mlx-cpu-$MLX_VERSION" "fetching MLX $MLX_VERSION (10 MB)" "10 s" "$PIN_MLX_CPU" ;;
  metal) "$scripts/fetch-wheel.sh" "mlx-metal-$MLX_VERSION" "fetching MLX $MLX_VERSION (60 MB)" "20 s" "$PIN_MLX_METAL" ;;
  cuda)
    "$scripts/fetch-wheel.sh" "mlx-cuda-13-$MLX_VERSION" "fetching MLX $MLX_VERSION and CUDA libraries (1.4 GB)" "3 minutes" \
      "$PIN_MLX_CUDA" "$PIN_CUDA_CUDNN" "$PIN_CUDA_NCCL" "$PIN_CUDA_CUBLAS" "$PIN_CUDA_CUFFT" \
      "$PIN_CUDA_NVRTC" "$PIN_CUDA_RUNTIME" "$PIN_CUDA_CRT"
    ;;
  esac
}

"$scripts/check-tools.sh"
backend=$(choose_backend)
mlxc='' mlx_prefix=''
find_installed

if [ -n "$mlx_prefix" ]; then mlx=$(wrap_mlx "$mlx_prefix"); else mlx=$(fetch_mlx "$backend"); fi
if [ -z "$mlxc" ]; then
  # The CUDA wheel's CMake files ask for a CUDA toolkit. The headers that mlx-c sees are the same in
  # the CPU wheel, so one mlx-c serves both.
  case $backend in
  cuda) mlxc=$("$scripts/build-mlxc.sh" "$(fetch_mlx cpu)") ;;
  *) mlxc=$("$scripts/build-mlxc.sh" "$mlx") ;;
  esac
fi
text=$("$scripts/build-text.sh")

link_dep mlx "$mlx"
link_dep mlxc "$mlxc"
link_dep text "$text"
if [ "$OS" = Linux ]; then
  openblas=$("$scripts/fetch-wheel.sh" "openblas-$OPENBLAS_VERSION" "fetching OpenBLAS $OPENBLAS_VERSION (8 MB)" "5 s" "$PIN_OPENBLAS")
  link_dep openblas "$openblas"
fi
set_stamp backend "$backend"

"$scripts/build-go.sh"
"$scripts/build-client.sh"

if [ "$backend" = cuda ] && ! ldconfig -p 2>/dev/null | grep -q 'libcuda\.so\.1'; then
  say "note: no NVIDIA driver (libcuda.so.1) on this machine: the worker is built and will not start here"
fi
say "ready: bin/mlx-worker ($backend, MLX $MLX_VERSION, mlx-c $(mlx_c_version "$mlxc"))"
