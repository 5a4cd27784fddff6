/** Formats of figures in tables and lines. */

/** A duration in milliseconds with two decimals and the unit that fits: μs, ms, s or min. */
export function duration(ms: number): string {
  return durationLike(ms, ms);
}

/** A duration in the unit that fits another one. */
export function durationLike(ms: number, other: number): string {
  if (other < 1) return `${(ms * 1000).toFixed(2)} μs`;
  if (other < 1000) return `${ms.toFixed(2)} ms`;
  if (other < 60_000) return `${(ms / 1000).toFixed(2)} s`;
  return `${(ms / 60_000).toFixed(2)} min`;
}

/** A duration of one answer, whole milliseconds. */
export function milliseconds(ms: number): string {
  return `${Math.round(ms)} ms`;
}

/** Tokens per second with two decimals. */
export function rate(tokensPerSecond: number): string {
  return `${tokensPerSecond.toFixed(2)} tok/s`;
}

/** Bytes in MB (10⁶). */
export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Bytes in GB (10⁹). */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A text cut to so many characters, with an ellipsis where something is missing. */
export function shortened(text: string, length: number): string {
  const characters = [...text];
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

/** Lines of a table: the first column to the left, the others to the right, the first row underlined. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => [...(row[column] ?? "")].length)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => {
        const width = widths[column] ?? 0;
        return column === 0 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join("  ")
      .trimEnd();
  const [head, ...body] = rows;
  if (head === undefined) return [];
  return [line(head), widths.map((width) => "─".repeat(width)).join("──"), ...body.map(line)];
}
