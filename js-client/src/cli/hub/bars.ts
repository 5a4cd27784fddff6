import { bytes } from "../format.js";
import { type Io, isFancy, line } from "../io.js";
import type { RemoteFile } from "./client.js";
import type { PullProgress } from "./pull.js";

/** Least time between two drawings of a bar, in milliseconds. */
const REDRAW_MS = 100;

/** Progress on stderr: a bar for the file that comes in on a terminal, else a line for each file. */
export function progressBars(io: Io, quiet: boolean): PullProgress {
  if (quiet) return { onStart() {}, onBytes() {}, onFile() {} };
  const fancy = isFancy(io.stderr, io.env);
  const started = { at: 0, bytes: 0 };
  let width = 0;
  let drawnAt = 0;
  let current: RemoteFile | undefined;
  return {
    onStart(snapshot, files) {
      width = Math.max(...files.map(({ path }) => path.length));
      const total = files.reduce((sum, { size }) => sum + size, 0);
      const license = snapshot.license === undefined ? "" : `, licence ${snapshot.license}`;
      const commit = snapshot.commit.slice(0, 12);
      line(io.stderr, `${snapshot.repo} ${commit}: ${files.length} files, ${bytes(total)}${license}`);
    },
    onBytes(file, onDisk) {
      if (!fancy) return;
      const now = performance.now();
      if (current !== file) {
        current = file;
        Object.assign(started, { at: now, bytes: onDisk });
      } else if (now - drawnAt < REDRAW_MS) return;
      drawnAt = now;
      const rate = ((onDisk - started.bytes) / Math.max(1, now - started.at)) * 1000;
      io.stderr.write(`\r\u001b[K${bar(file, onDisk, rate, width, io.stderr.columns ?? 80)}`);
    },
    onFile(file, outcome) {
      const text = `${file.path.padEnd(width)}  ${bytes(file.size).padStart(10)}  ${outcome}`;
      line(io.stderr, fancy ? `\r\u001b[K${text}` : text);
    },
  };
}

function bar(file: RemoteFile, onDisk: number, rate: number, width: number, columns: number): string {
  const share = file.size === 0 ? 1 : onDisk / file.size;
  const figures = `${String(Math.floor(share * 100)).padStart(3)} %  ${bytes(onDisk)} of ${bytes(file.size)}  ${bytes(Math.round(rate))}/s`;
  const room = Math.min(30, columns - width - figures.length - 6);
  const filled = Math.round(share * room);
  const drawing = room < 5 ? "" : `${"█".repeat(filled)}${"░".repeat(room - filled)}  `;
  return `${file.path.padEnd(width)}  ${drawing}${figures}`.slice(0, columns - 1);
}
