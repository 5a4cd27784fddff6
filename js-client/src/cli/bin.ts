#!/usr/bin/env node
import { processIo } from "./io.js";
import { main } from "./main.js";

// A reader that went away (`| head`) is no fault: what is left has nowhere to go.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

// Nor is one of stderr, and what goes to stdout may still have its own.
process.stderr.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") process.exit(1);
});

process.exitCode = await main(process.argv.slice(2), processIo());
