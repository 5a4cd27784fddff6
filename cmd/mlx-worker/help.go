package main

import (
	"fmt"
	"io"

	"mlx-worker/envcfg"
)

const usage = `mlx-worker %s: runs language models on MLX, driven over stdin and stdout.

Usage: mlx-worker            serve frames of length-prefixed MessagePack until the end of stdin
       mlx-worker --check    start MLX, print the device as JSON and exit
       mlx-worker --version  print the version
       mlx-worker --help     print this
       mlx-worker inspect PATH [--json]
                             say what the model at PATH is, a folder with config.json or a .gguf
                             file, and whether this build runs it; reads no weights, starts no MLX

Exit codes: 0 end of stdin, shutdown or SIGTERM; 1 inspect: not a model that this build runs;
            2 bad environment or arguments; 3 MLX could not start;
            70 internal fault, or stdout cannot be written.

Environment, read once at start:
`

func writeHelp(w io.Writer) error {
	if _, err := fmt.Fprintf(w, usage, version); err != nil {
		return err
	}
	return envcfg.WriteHelp(w)
}
