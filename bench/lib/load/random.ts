/** Numbers from 0 (included) to 1 (excluded). */
export type Random = () => number;

/** A generator of pseudo-random numbers that is the same for the same seed everywhere (mulberry32). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** An integer from 0 to `below` − 1, each as likely. */
export function randomInteger(random: Random, below: number): number {
  return Math.floor(random() * below);
}

/**
 * Arrival times of a Poisson process: independent, exponentially distributed gaps.
 *
 * @param rate arrivals per second, above 0
 * @returns milliseconds from the start, ascending; the first one comes after a gap too
 */
export function poissonArrivals(rate: number, count: number, seed: number): number[] {
  if (!(rate > 0)) throw new RangeError(`a rate of ${rate} arrivals per second is not above 0`);
  const random = seededRandom(seed);
  let at = 0;
  return Array.from({ length: count }, () => {
    at += (-Math.log(1 - random()) / rate) * 1000;
    return at;
  });
}
