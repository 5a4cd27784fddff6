// Command mlx-worker runs language models for a client that speaks the frames of package rpc
// on its stdin and stdout.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"mlx-worker/envcfg"
	"mlx-worker/internal/stdio"
)

// version is set by the linker: -X main.version=…
var version = "development"

// Exit codes of the wire contract.
const (
	exitOK       = 0
	exitUsage    = 2
	exitNoEngine = 3
	exitInternal = 70
)

func main() { os.Exit(guard(func() int { return run(os.Args[1:]) })) }

// guard turns a panic into the exit code of an internal fault.
func guard(run func() int) (code int) {
	defer func() {
		if fault := recover(); fault != nil {
			fmt.Fprintf(os.Stderr, "mlx-worker: internal fault: %v\n%s", fault, debug.Stack())
			code = exitInternal
		}
	}()
	return run()
}

func run(args []string) int {
	// First of all: whatever a library prints must not reach the client.
	in, out, err := stdio.Claim()
	if err != nil {
		complain(err)
		return exitInternal
	}
	if len(args) > 0 && args[0] == "inspect" {
		return runInspect(args[1:], out)
	}
	mode, err := parseFlags(args)
	if err != nil {
		complain(err)
		return exitUsage
	}
	switch mode {
	case "help":
		return printed(exitOK, writeHelp(out))
	case "version":
		_, err := fmt.Fprintln(out, "mlx-worker", version)
		return printed(exitOK, err)
	}
	env, err := envcfg.Load(os.LookupEnv)
	if err != nil {
		complain(err)
		return exitUsage
	}
	if mode == "check" {
		return checkEngine(env, out)
	}
	return serve(in, out, env)
}

// parseFlags returns "help", "version", "check" or "serve".
func parseFlags(args []string) (mode string, err error) {
	flags := flag.NewFlagSet("mlx-worker", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	showVersion := flags.Bool("version", false, "")
	check := flags.Bool("check", false, "")
	const accepted = "accepted: --help, --version, --check, inspect PATH"
	err = flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return "help", nil
	case err != nil:
		return "", fmt.Errorf("%w; %s", err, accepted)
	case flags.NArg() > 0:
		return "", fmt.Errorf("unexpected argument %q; %s", flags.Arg(0), accepted)
	case *showVersion:
		return "version", nil
	case *check:
		return "check", nil
	default:
		return "serve", nil
	}
}

// complain prints the one line that says why the worker ends.
func complain(err error) { fmt.Fprintln(os.Stderr, "mlx-worker:", err) }

// printed is the exit code of a mode that only prints.
func printed(code int, err error) int {
	if err != nil {
		complain(err)
		return exitInternal
	}
	return code
}
