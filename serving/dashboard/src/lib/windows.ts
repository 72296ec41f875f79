/** Windows over the cells of the live socket: a cell counts the messages of a source in one second. */

export interface Tally {
  negative: number;
  neutral: number;
  positive: number;
  messages: number;
  /** Sum of the scores. */
  score: number;
}

/** By source, then by epoch second. The source "" combines all but the busiest. */
export type Cells = ReadonlyMap<string, ReadonlyMap<number, Tally>>;

export const EMPTY_TALLY: Tally = { negative: 0, neutral: 0, positive: 0, messages: 0, score: 0 };

export function plus(a: Tally, b: Tally): Tally {
  return {
    negative: a.negative + b.negative,
    neutral: a.neutral + b.neutral,
    positive: a.positive + b.positive,
    messages: a.messages + b.messages,
    score: a.score + b.score,
  };
}

function minus(a: Tally, b: Tally): Tally {
  return {
    negative: a.negative - b.negative,
    neutral: a.neutral - b.neutral,
    positive: a.positive - b.positive,
    messages: a.messages - b.messages,
    score: a.score - b.score,
  };
}

function ofSource(cells: Cells, source: string): ReadonlyMap<number, Tally>[] {
  return source ? [cells.get(source) ?? new Map()] : [...cells.values()];
}

/** The messages from second `first` to `last`, both included; an empty source means all sources. */
export function tally(cells: Cells, source: string, first: number, last: number): Tally {
  let sum = EMPTY_TALLY;
  for (const seconds of ofSource(cells, source)) {
    if (last - first < seconds.size) {
      for (let second = first; second <= last; second++) sum = plus(sum, seconds.get(second) ?? EMPTY_TALLY);
    } else {
      for (const [second, cell] of seconds) if (second >= first && second <= last) sum = plus(sum, cell);
    }
  }
  return sum;
}

/** The messages of each second from `first` to `last`, both included. */
export function perSecond(cells: Cells, source: string, first: number, last: number): Tally[] {
  const sources = ofSource(cells, source);
  return Array.from({ length: last - first + 1 }, (_, at) =>
    sources.reduce((sum, seconds) => {
      const cell = seconds.get(first + at);
      return cell ? plus(sum, cell) : sum;
    }, EMPTY_TALLY),
  );
}

/** For each second, the messages of this second and the `width - 1` before it. */
export function moving(seconds: readonly Tally[], width: number): Tally[] {
  let sum = EMPTY_TALLY;
  return seconds.map((tallied, at) => {
    sum = plus(sum, tallied);
    const expired = seconds[at - width];
    if (expired) sum = minus(sum, expired);
    return sum.messages ? sum : EMPTY_TALLY; // drops the rounding error of the sums
  });
}

/** The sources with the most messages, the busiest first. */
export function busiest(cells: Cells, first: number, last: number, most: number): string[] {
  return [...cells.keys()]
    .filter(Boolean)
    .map((source) => ({ source, messages: tally(cells, source, first, last).messages }))
    .filter(({ messages }) => messages)
    .sort((a, b) => b.messages - a.messages || a.source.localeCompare(b.source))
    .slice(0, most)
    .map(({ source }) => source);
}

/** The newest second with a message. */
export function newestSecond(cells: Cells): number | null {
  let newest: number | null = null;
  for (const seconds of cells.values()) {
    for (const second of seconds.keys()) if (newest === null || second > newest) newest = second;
  }
  return newest;
}
