// Adds up what the test runners reported. Its last line is "N passed, N failed, N skipped".
//
//   node test-summary.mjs REPORTS_FOLDER STAGE=ok|failed...
//
// A STAGE with a file extension is a test runner's, named after the report it leaves in the folder. A stage
// that failed without a failed test (a linter, a crash) counts as one failure, and so does a runner that
// ran nothing: the line says "0 failed" only when all is well. Ends with 1 otherwise.
import { existsSync, readFileSync } from "node:fs";
import { extname, join } from "node:path";

/** Events of `go test -json`: tests and subtests by their last action, packages that failed without one. */
function countGo(text) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const packagesWithFailedTests = new Set();
  for (const line of text.split("\n").filter((line) => line !== "")) {
    const { Action: action, Package: name, Test: test } = JSON.parse(line);
    if (action === "fail" && test === undefined) {
      if (!packagesWithFailedTests.has(name)) counts.failed++;
    } else if (test !== undefined) {
      if (action === "pass") counts.passed++;
      if (action === "skip") counts.skipped++;
      if (action === "fail") {
        counts.failed++;
        packagesWithFailedTests.add(name);
      }
    }
  }
  return counts;
}

/** Vitest's JSON report. */
function countVitest(text) {
  const report = JSON.parse(text);
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** The "test result:" lines of `cargo test`, one for each test binary. */
function countCargo(text) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const results = /^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored/gm;
  for (const [, passed, failed, ignored] of text.matchAll(results)) {
    counts.passed += Number(passed);
    counts.failed += Number(failed);
    counts.skipped += Number(ignored);
  }
  return counts;
}

const describe = ({ passed, failed, skipped }) => `${passed} passed, ${failed} failed, ${skipped} skipped`;

const readers = { go: countGo, vitest: countVitest, cargo: countCargo };

const [, , folder, ...stages] = process.argv;
const total = { passed: 0, failed: 0, skipped: 0 };
for (const stage of stages) {
  const [name, result] = stage.split("=");
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const isRunner = extname(name) !== "";
  const report = join(folder, name);
  if (isRunner && existsSync(report)) {
    Object.assign(counts, readers[name.split(/[-.]/)[0]](readFileSync(report, "utf8")));
  }
  const ranNothing = isRunner && counts.passed + counts.failed === 0;
  if ((result !== "ok" || ranNothing) && counts.failed === 0) counts.failed = 1;

  if (isRunner || result !== "ok") console.log(`${name}: ${result}, ${describe(counts)}`);
  for (const key of Object.keys(total)) total[key] += counts[key];
}

console.log(describe(total));
process.exitCode = total.failed > 0 ? 1 : 0;
