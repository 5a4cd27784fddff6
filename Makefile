# Run `make help` for the list of tasks. What a task does is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help setup model build build-go build-client check test generate fmt \
	bench bench-startup pack parity darwin-check clean distclean

help: ## List every task
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

setup: ## Make this clone ready: dependencies, worker, client (BACKEND=cpu|cuda|metal)
	@scripts/setup.sh

model: ## Fetch the test model, SmolLM2-135M-Instruct (93 MB)
	@scripts/model.sh

build: build-go build-client ## Build the worker and the client again

build-go: ## Build bin/mlx-worker
	@scripts/build-go.sh

build-client: ## Install npm packages if they changed, build js-client/dist
	@scripts/build-client.sh

check: setup ## Before a commit: format, vet, linters, types, unit tests without a model
	@scripts/check.sh

test: setup model ## Everything: checks, Go and Rust and TypeScript tests, the real worker with a real model
	@scripts/test.sh

generate: ## Write the generated files again
	go run ./internal/gen

fmt: ## Format Go, Rust and TypeScript
	gofmt -w $$(go list -f '{{.Dir}}' ./...)
	cargo fmt --manifest-path text/native/Cargo.toml
	npx --no-install biome check --write .

bench: ## Fifty questions against a real model (npm run bench:50-questions -- --help for options)
	npm run bench:50-questions

bench-startup: ## Start-up time and memory of the worker
	npm run bench:startup

parity: setup ## Compare with mlx-lm's goldens: every family and format, sampling, tokenizers, chat templates
	@scripts/parity.sh

pack: setup build-client ## Write the npm tarballs of the client and of this platform's worker to dist/
	@scripts/pack.sh

darwin-check: setup ## Type-check the Go code for macOS on Apple silicon, cgo included, on any machine
	@scripts/darwin-check.sh

clean: ## Remove what was built in this clone
	rm -rf bin dist js-client/dist text/native/target .deps/cargo-target .deps/reports

distclean: clean ## Remove dependencies and npm packages too; the shared cache stays
	rm -rf .deps node_modules js-client/node_modules
