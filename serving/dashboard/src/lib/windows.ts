/** Windows over the cells of the live socket: a cell is what a source said in a second. */

export interface Tally {
  negative: number;
  neutral: number;
  positive: number;
  messages: number;
  /** Sum of the scores. */
  score: number;
}

/** By source, then by epoch second. The source "" is all but the busiest. */
export type Cells = ReadonlyMap<string, ReadonlyMap<number, Tally>>;

export const NOTHING: Tally = { negative: 0, neutral: 0, positive: 0, messages: 0, score: 0 };

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

/** All that was said from second `first` up to and with `last`; empty source: by all. */
export function tally(cells: Cells, source: string, first: number, last: number): Tally {
  let sum = NOTHING;
  for (const seconds of ofSource(cells, source)) {
    if (last - first < seconds.size) {
      for (let second = first; second <= last; second++) sum = plus(sum, seconds.get(second) ?? NOTHING);
    } else {
      for (const [second, cell] of seconds) if (second >= first && second <= last) sum = plus(sum, cell);
    }
  }
  return sum;
}

/** What was said in each second from `first` up to and with `last`. */
export function perSecond(cells: Cells, source: string, first: number, last: number): Tally[] {
  const found = ofSource(cells, source);
  return Array.from({ length: last - first + 1 }, (_, at) =>
    found.reduce((sum, seconds) => {
      const cell = seconds.get(first + at);
      return cell ? plus(sum, cell) : sum;
    }, NOTHING),
  );
}

/** Of each second, what was said in it and the `width - 1` before. */
export function moving(seconds: readonly Tally[], width: number): Tally[] {
  let sum = NOTHING;
  return seconds.map((tallied, at) => {
    sum = plus(sum, tallied);
    const gone = seconds[at - width];
    if (gone) sum = minus(sum, gone);
    return sum.messages ? sum : NOTHING; // no dust of adding and taking away
  });
}

/** The sources that said most, the busiest first. */
export function busiest(cells: Cells, first: number, last: number, most: number): string[] {
  return [...cells.keys()]
    .filter(Boolean)
    .map((source) => ({ source, messages: tally(cells, source, first, last).messages }))
    .filter(({ messages }) => messages)
    .sort((a, b) => b.messages - a.messages || a.source.localeCompare(b.source))
    .slice(0, most)
    .map(({ source }) => source);
}

/** The newest second in which anything was said. */
export function newestSecond(cells: Cells): number | null {
  let newest: number | null = null;
  for (const seconds of cells.values()) {
    for (const second of seconds.keys()) if (newest === null || second > newest) newest = second;
  }
  return newest;
}
