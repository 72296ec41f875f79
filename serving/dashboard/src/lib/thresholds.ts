import type { Schemas } from "@/api/client";
import { bytes, count, duration, percent } from "./formats";

/** What a number means, as a color and words, so that color is not the only sign. */
export interface Meaning {
  tone: "good" | "warn" | "bad";
  words: string;
}

type Stream = Schemas["StreamStatus"];

const NEAR = 0.5;
const LATE_S = 5;
const HUNG_S = 30;
const FULL = 0.9;

/** Compare a value with its limit: ok, near it, or over it. */
export function against(value: number | null, limit: number, limitWords: string): Meaning | null {
  if (value === null) return null;
  if (value > limit) return { tone: "bad", words: `high, limit ${limitWords}` };
  if (value > NEAR * limit) return { tone: "warn", words: `rising, limit ${limitWords}` };
  return { tone: "good", words: `ok, limit ${limitWords}` };
}

export function lagMeaning({ lag, lag_limit, state }: Stream): Meaning | null {
  if (lag && state === "not supervised") return { tone: "warn", words: "no worker reads them" };
  return against(lag, lag_limit, count(lag_limit));
}

export function drainMeaning({ drain_s, drain_limit_s }: Stream): Meaning | null {
  return against(drain_s, drain_limit_s, duration(drain_limit_s));
}

export function deadLetterMeaning({ dead_letters }: Stream): Meaning | null {
  if (dead_letters === null) return null;
  return dead_letters
    ? { tone: "warn", words: "see groundswell stream dlq list" }
    : { tone: "good", words: "none" };
}

/** The last heartbeat of a worker. */
export function heartbeatMeaning(silent_s: number | null): Meaning | null {
  if (silent_s === null) return null;
  if (silent_s > HUNG_S) return { tone: "bad", words: "hung" };
  return silent_s > LATE_S ? { tone: "warn", words: "late" } : { tone: "good", words: "ok" };
}

/** The CPU use of all processes of the stream. */
export function cpuMeaning(stream: Stream): Meaning | null {
  const used = sumOf(stream, "cpu");
  if (used === null || stream.cores === null) return null;
  const words = `${percent(used / stream.cores)} of ${stream.cores} cores`;
  return { tone: used > FULL * stream.cores ? "warn" : "good", words };
}

/** The memory of all processes of the stream. */
export function memoryMeaning(stream: Stream): Meaning | null {
  const used = sumOf(stream, "rss_bytes");
  if (used === null || stream.memory_bytes === null) return null;
  const words = `${percent(used / stream.memory_bytes)} of ${bytes(stream.memory_bytes)}`;
  return { tone: used > FULL * stream.memory_bytes ? "warn" : "good", words };
}

export function sumOf(stream: Stream, what: "cpu" | "rss_bytes"): number | null {
  const known = [...stream.workers, ...stream.others]
    .map((each) => each[what])
    .filter((value) => value != null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
}
