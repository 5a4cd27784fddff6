# The stages of check.sh and test.sh: sourced after lib.sh. Every stage runs, whatever failed before
# it; finish prints the true totals of all test runners and ends with 1 if anything failed.
# shellcheck shell=bash

reports=$DEPS/reports
rm -rf "$reports"
mkdir -p "$reports"
results=()

need_deps
go_env
cargo_env
cd "$ROOT" || exit

# stage NAME COMMAND...: runs COMMAND, a program or a function of this file, and notes how it ended.
# The NAME of a test runner's stage is that of the report it leaves. Functions end with the status of
# what they ran: set -e has no effect inside them.
stage() {
  local name=$1 start=$SECONDS result=ok
  shift
  say "== ${name%.*}"
  "$@" || result=failed
  say "== ${name%.*}: $result, $((SECONDS - start)) s"
  results+=("$name=$result")
}

go_format() {
  local files
  files=$(find . \( -name node_modules -o -name .deps \) -prune -o -name '*.go' -print0 | xargs -0 gofmt -l) || return
  [ -z "$files" ] && return
  printf 'not formatted (make fmt does it):\n%s\n' "$files"
  return 1
}

shell_lint() {
  if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
  else
    say "not run: shellcheck is not installed (apt-get install shellcheck, brew install shellcheck)"
  fi
}

rust() { cargo "$1" --locked --manifest-path text/native/Cargo.toml "${@:2}"; }

rust_test() { rust test --release | tee "$reports/cargo.txt"; }

# go_test mlx|plain|mlx-race [FLAG...]
go_test() {
  local kind=$1 packages
  shift
  packages=$(scripts/go-packages.sh "${kind%-race}") || return
  # shellcheck disable=SC2086 # one word a package
  go run "$GOTESTSUM" --format pkgname --format-hide-empty-pkg --jsonfile "$reports/go-$kind.json" -- \
    "-ldflags=-X main.libraries=$(libraries_key)" "$@" $packages
}

# kernels_asan: the CPU kernels, over random shapes, with AddressSanitizer in our C and C++. Leaks are
# not looked for: MLX keeps buffers. ASan's dlopen does not search where the binary says.
kernels_asan() {
  if [ "$OS-$ARCH" != Linux-x86_64 ]; then
    say "not run: the kernels are for Linux on x86-64, and this is $OS on $ARCH"
    return
  fi
  LD_LIBRARY_PATH=$DEPS/openblas/scipy_openblas32/lib ASAN_OPTIONS=detect_leaks=0 \
    go run "$GOTESTSUM" --format pkgname --jsonfile "$reports/go-asan.json" -- \
    -asan -count=1 -timeout 10m -run 'Kernel|Quantized|Products|Rows' ./gpu/mlx
}

# vitest PROJECT
vitest() {
  (cd js-client && npx --no-install vitest run --project "$1" \
    --reporter=default --reporter=json --outputFile.json="$reports/vitest-$1.json")
}

# vitest_with_node FOLDER NAME ARGUMENT...: the client's tests under the Node.js of FOLDER, which is
# also what they start themselves; the report is vitest-NAME.json.
vitest_with_node() {
  local folder=$1 name=$2
  shift 2
  (cd js-client && PATH="$folder/bin:$PATH" npx --no-install vitest run "$@" \
    --reporter=default --reporter=json --outputFile.json="$reports/vitest-$name.json")
}

# node_stages: what depends on the version of Node.js, under another one than the installed one. Types
# don't: the unit tests are given by their folders, which leaves out those of test/types.
node_stages() {
  local node version=${NODE_TEST_VERSION%%.*}
  if [ "$OS-$ARCH" != Linux-x86_64 ]; then
    say "not run under Node.js $version: what is pinned is for Linux x86-64, and this is $OS on $ARCH"
  elif node=$(scripts/fetch-node.sh); then
    stage "vitest-unit-node$version.json" vitest_with_node "$node" "unit-node$version" --project unit \
      test/unit test/fake test/cli
    stage "vitest-e2e-node$version.json" vitest_with_node "$node" "e2e-node$version" --project e2e \
      test/e2e/package.test.ts test/e2e/generate.test.ts test/e2e/examples.test.ts
  else
    stage "node$version" false
  fi
}

# The benchmarks' own tests, which start no engine.
vitest_bench() {
  npx --no-install vitest run --dir bench \
    --reporter=default --reporter=json --outputFile.json="$reports/vitest-bench.json"
}

# static_stages: everything that runs no test.
static_stages() {
  stage gofmt go_format
  stage vet go vet ./...
  stage staticcheck go run "$STATICCHECK" ./...
  stage generated go run ./internal/gen -check
  stage rustfmt cargo fmt --check --manifest-path text/native/Cargo.toml
  stage typescript npm run --silent check:ts
  stage shellcheck shell_lint
}

finish() { node scripts/test-summary.mjs "$reports" "${results[@]}"; }
