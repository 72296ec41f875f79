/** Ranges of axes, and the height at which bars are cut. */

/** The range of whole decades that contains the values, with room so that no value is drawn on the edge. */
export function decadeRange(low: number, high: number): [number, number] {
  const from = 10 ** Math.floor(Math.log10(low / 1.1));
  const to = 10 ** Math.ceil(Math.log10(high * 1.1));
  return [from, to];
}

export function isDecade(value: number): boolean {
  const power = Math.log10(value);
  return Math.abs(power - Math.round(power)) < 1e-9;
}

const FEW = 20;
const OUTLIER = 2;

/**
 * The height at which to cut bars when a few of them would flatten all others; null if none would.
 * At most one bar in twenty is cut, and only if the highest is over twice that height.
 */
export function clipOf(values: readonly number[]): number | null {
  const filled = values.filter((value) => value > 0).sort((a, b) => a - b);
  if (filled.length < FEW) return null;
  const at = (share: number) => filled[Math.floor(share * (filled.length - 1))] ?? 0;
  const top = 1.25 * Math.max(at(0.95), 3 * at(0.5));
  return at(1) > OUTLIER * top ? top : null;
}
