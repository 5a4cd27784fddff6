/** One thing that was looked at. */
export interface Finding {
  readonly name: string;
  /** "warn" is worth knowing; "fail" is broken. */
  readonly status: "ok" | "warn" | "fail";
  /** One or several lines. */
  readonly text: string;
}

const MARKS = { ok: "ok  ", warn: "warn", fail: "FAIL" } as const;

/** The findings as text to paste into a report. */
export function renderFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const indent = " ".repeat(MARKS.ok.length + width + 4);
  return findings
    .map(
      ({ name, status, text }) =>
        `${MARKS[status]}  ${name.padEnd(width)}  ${text.replaceAll("\n", `\n${indent}`)}`,
    )
    .join("\n");
}
