/** Figures of one sample of measurements, in the sample's unit. */
export interface Distribution {
  readonly count: number;
  readonly mean: number;
  readonly median: number;
  readonly p95: number;
  readonly p99: number;
  readonly min: number;
  readonly max: number;
  /** Population standard deviation. */
  readonly stdDev: number;
}

/** A median over cycles with half the distance between the extremes. */
export interface Spread {
  readonly median: number;
  /** (largest − smallest) / 2; 0 for a single cycle. */
  readonly plusMinus: number;
  /** One value a cycle. */
  readonly values: readonly number[];
}

/**
 * The p-th percentile by linear interpolation between the closest ranks.
 *
 * @param sorted ascending, not empty
 * @param p 0 to 100
 * @throws RangeError for an empty sample or a p out of range
 */
export function percentile(sorted: readonly number[], p: number): number {
  if (sorted.length === 0) throw new RangeError("percentile of an empty sample");
  if (!(p >= 0 && p <= 100)) throw new RangeError(`percentile ${p} is not from 0 to 100`);
  const rank = (p / 100) * (sorted.length - 1);
  const below = Math.floor(rank);
  const low = sorted[below] as number;
  const high = sorted[Math.ceil(rank)] as number;
  return low + (high - low) * (rank - below);
}

const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

/** Items with equal keys, each group in the order of the items and groups in that of their first ones. */
export function grouped<Item>(items: readonly Item[], key: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}

/** The sum of a sample; 0 for an empty one. */
export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The median of a sample. @throws RangeError for an empty sample */
export function median(values: readonly number[]): number {
  return percentile(ascending(values), 50);
}

/** The figures of a sample. @throws RangeError for an empty sample */
export function describe(values: readonly number[]): Distribution {
  const sorted = ascending(values);
  const mean = sum(sorted) / sorted.length;
  return {
    count: sorted.length,
    mean,
    median: percentile(sorted, 50),
    p95: percentile(sorted, 95),
    p99: percentile(sorted, 99),
    min: percentile(sorted, 0),
    max: percentile(sorted, 100),
    stdDev: Math.sqrt(sum(sorted.map((value) => (value - mean) ** 2)) / sorted.length),
  };
}

/** The figures of a sample, or null where there is none. */
export function described(values: readonly number[]): Distribution | null {
  return values.length > 0 ? describe(values) : null;
}

/** Median and spread of one value a cycle. @throws RangeError for an empty sample */
export function spread(values: readonly number[]): Spread {
  const sorted = ascending(values);
  return {
    median: percentile(sorted, 50),
    plusMinus: (percentile(sorted, 100) - percentile(sorted, 0)) / 2,
    values: [...values],
  };
}
