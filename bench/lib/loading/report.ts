import { duration, durationLike, megabytes, table } from "../format.js";
import { ratio } from "../report.js";
import type { Spread } from "../stats.js";
import type { LoadRun, LoadSummary } from "./loads.js";
import { caseName, type LoadCase } from "./modes.js";
import type { NaNSummary } from "./nan-check.js";
import type { LongestGaps, StallRun, StallSummary } from "./stalls.js";

/** What the project asks of loading. */
export const TARGETS = {
  /** Resident memory less the bare worker's, at the peak and at rest, by the weights on disk. */
  memoryByWeights: 1.3,
  /** Longest gap of a stream while another model is loaded, milliseconds. */
  longestGapMs: 100,
  /** A second load by the first. */
  secondByFirst: 0.1,
} as const;

const NONE = "–";

const spreadOf = (value: Spread | null, text: (value: number, other: number) => string): string => {
  if (value === null) return NONE;
  const { median, plusMinus, values } = value;
  return values.length > 1 ? `${text(median, median)} ± ${text(plusMinus, median)}` : text(median, median);
};

const time = (value: Spread | null): string => spreadOf(value, durationLike);

const bytes = (value: Spread | null): string => (value === null ? NONE : megabytes(value.median));

const times = (value: Spread | undefined): string => (value ? `${value.median.toFixed(2)}×` : NONE);

const percent = (value: Spread): string => `${(value.median * 100).toFixed(value.median < 0.1 ? 2 : 0)} %`;

/** The line of a checkpoint before anything is measured. */
export function checkpointLine({ checkpoint }: Pick<LoadCase, "checkpoint">): string {
  const [hash = ""] = Object.values(checkpoint.sha256);
  return `${checkpoint.name.padEnd(30)} ${megabytes(checkpoint.weightsBytes).padStart(10)}  sha256 ${hash.slice(0, 16)}…`;
}

/** The line of one cycle of one case. */
export function loadLine(run: LoadRun): string {
  const memory = run.memory ? `, peak ${megabytes(run.memory.most.peak)}` : "";
  return `${run.checkpoint}, ${run.mode}: first load ${duration(run.first.ms)}, again ${duration(run.again.ms)}, after an unload ${duration(run.reload.ms)}${memory}`;
}

/** The line of one load beside a stream. */
export function stallLine(run: StallRun): string {
  const [quiet, load, unload] = [run.quiet, run.load, run.unload].map(({ gaps }) => duration(gaps.max));
  return `stream ${run.stream}, ${run.checkpoint}, ${run.mode}: longest gap ${quiet} quiet, ${load} during a load of ${duration(run.load.ms)}, ${unload} during its unload`;
}

/** The tables of memory and times by case. */
export function loadLines(summaries: readonly LoadSummary[]): string[] {
  const name = ({ checkpoint, mode }: LoadSummary): string => `${checkpoint}, ${mode}`;
  const memory = table([
    [
      "Memory",
      "weights",
      "bare",
      "peak",
      "rest",
      "unloaded",
      "peak −bare",
      "rest −bare",
      "anon peak",
      "anon rest",
    ],
    ...summaries.map((one) => [
      name(one),
      megabytes(one.weightsBytes),
      bytes(one.bareBytes),
      bytes(one.peakBytes),
      bytes(one.restBytes),
      bytes(one.unloadedBytes),
      times(one.byWeights?.peak),
      times(one.byWeights?.rest),
      times(one.byWeights?.peakAnonymous),
      times(one.byWeights?.restAnonymous),
    ]),
  ]);
  const loads = table([
    [
      "Load",
      "first, from disk",
      "first, from memory",
      "again",
      "by first",
      "after an unload",
      "by first",
      "unload",
    ],
    ...summaries.map((one) => [
      name(one),
      time(one.disk),
      time(one.first),
      time(one.again),
      percent(one.againByFirst),
      time(one.reload),
      percent(one.reloadByFirst),
      time(one.unload),
    ]),
  ]);
  return [
    "",
    ...memory,
    `bytes resident; by the weights' size on disk, the bare worker's memory taken off (wanted: at most ${TARGETS.memoryByWeights}×)`,
    "",
    ...loads,
    `"from memory": the system held the file; a second load is wanted in at most ${TARGETS.secondByFirst * 100} % of the first`,
    "",
  ];
}

/** The table of longest gaps. */
export function stallLines(summaries: readonly StallSummary[]): string[] {
  const gaps = ({ median, max }: LongestGaps): string => `${median.toFixed(0)} / ${max.toFixed(0)}`;
  return [
    "",
    ...table([
      ["Longest gap, median / max ms", "stream", "quiet", "during the load", "during the unload", "load"],
      ...summaries.map((one) => [
        `${one.checkpoint}, ${one.mode}`,
        one.stream,
        gaps(one.quiet),
        gaps(one.load),
        gaps(one.unload),
        time(one.loadMs),
      ]),
    ]),
    `wanted during a load: at most ${TARGETS.longestGapMs} ms`,
    "",
  ];
}

/** The table of what looking for NaN costs. */
export function nanLines(summaries: readonly NaNSummary[]): string[] {
  return [
    "",
    ...table([
      ["Looking for NaN", "with", "without", "with / without"],
      ...summaries.map((one) => [
        `${one.checkpoint}, ${one.mode}`,
        time(one.checking),
        time(one.trusting),
        ratio(one.ratio),
      ]),
    ]),
    "",
  ];
}

/** What a measurement of a case is called while it runs. */
export function caseLabel(scenario: string, load: LoadCase): string {
  return `${scenario}: ${caseName(load)}`;
}
