import { describe, expect, test } from "vitest";
import { plotNames, plotSpec, renderPlot } from "./plot.js";
import type { Point, Simulation } from "./result.js";
import { tablesOf, withTables } from "./tables.js";

const percentiles = (base: number) => ({
  mean: base,
  p50: base,
  p95: base * 2,
  p99: base * 3,
  max: base * 4,
});

const point = (changes: Partial<Point>): Point => ({
  sweep: "rows",
  machine: "one",
  trace: "heavy",
  setting: "8",
  x: 8,
  requests: 100,
  completed: 100,
  seconds: 60,
  tokensPerSecond: 123.456,
  ttft: percentiles(40_000),
  interToken: percentiles(7.125),
  queue: percentiles(1),
  total: percentiles(1000),
  steps: 10,
  meanRows: 4.25,
  rowLimit: 8,
  fastPath: 0,
  preempted: 0,
  degradations: 0,
  recoveries: 0,
  adjustments: 0,
  ...changes,
});

const simulation: Simulation = {
  machines: [
    { name: "one", about: "" },
    { name: "two", about: "" },
  ],
  sweeps: [{ name: "rows", about: "" }],
  requests: 100,
  seed: 1,
  points: ["one", "two"].flatMap((machine) => [
    point({ machine }),
    point({ machine, setting: "16", x: 16 }),
    point({ machine, setting: "16", x: 16, trace: "all at once" }),
  ]),
};

describe("tables", () => {
  test("one a machine, minutes where milliseconds say nothing", () => {
    const lines = tablesOf(simulation, "rows").split("\n");
    expect(lines.filter((line) => line.startsWith("**"))).toEqual(["**one**", "**two**"]);
    expect(lines[4]).toBe(
      "| 8 | heavy | 123 | 40000 | 1.33 min | 2.00 min | 7.13 | 14.3 | 21.4 | 2.00 | 4.25 |",
    );
    expect(lines[2]?.split("|").length).toBe(lines[4]?.split("|").length);
  });

  test("go between their marks, again and again", () => {
    const text = "before\n<!-- sim:rows -->\nold\n<!-- /sim:rows -->\nafter <!-- sim:load -->";
    const once = withTables(text, simulation);
    expect(once).toContain(tablesOf(simulation, "rows"));
    expect(once).not.toContain("old");
    expect(once.startsWith("before\n") && once.endsWith("after <!-- sim:load -->")).toBe(true);
    expect(withTables(once, simulation)).toBe(once);
    expect(() => withTables("<!-- sim:rows -->", simulation)).toThrow("<!-- /sim:rows -->");
  });
});

describe("plots", () => {
  test("are made of the sweeps that ran", () => {
    expect(plotNames(simulation)).toEqual(["rows"]);
    expect(plotNames({ ...simulation, points: [] })).toEqual([]);
    expect(() => plotSpec(simulation, "none")).toThrow(RangeError);
  });

  test("show every machine and series", async () => {
    const svg = await renderPlot(simulation, "rows");
    for (const text of ["<svg", ">one<", ">two<", ">heavy load<", ">all at once<"])
      expect(svg).toContain(text);
    expect(svg).not.toContain("NaN");
  });
});
