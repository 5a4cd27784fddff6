module mlx-worker

go 1.26.0

require (
	github.com/sourcegraph/jsonrpc2 v0.2.3
	github.com/vmihailenco/msgpack/v5 v5.4.1
	go.uber.org/goleak v1.3.0
	golang.org/x/sync v0.24.0
	golang.org/x/sys v0.49.0
	pgregory.net/rapid v1.2.0
)

require github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
