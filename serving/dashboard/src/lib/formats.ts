const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const oneDecimal = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1, notation: "compact" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
});
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** Shown where there is no number. */
export const NONE = "–";

export function count(value: number | null | undefined): string {
  return value == null ? NONE : whole.format(value);
}

/** 12,345 as 12.3K. */
export function compact(value: number | null | undefined): string {
  return value == null ? NONE : short.format(value);
}

export function fixed(value: number | null | undefined, digits: number): string {
  return value == null ? NONE : value.toFixed(digits);
}

export function percent(part: number | null | undefined, digits = 0): string {
  return part == null ? NONE : `${(100 * part).toFixed(digits)} %`;
}

/** With its sign; a negative number has a minus sign, not a hyphen. */
export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? `±${text}` : `${value < 0 ? "−" : "+"}${text}`;
}

/** Three digits; whole numbers from 1,000 on. */
export function rounded(value: number | null | undefined): string {
  if (value == null) return NONE;
  if (value >= 1000) return whole.format(value);
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** "1 message", "2 messages". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${whole.format(value)} ${value === 1 ? one : many}`;
}

/** At most one decimal; a whole number has none. */
export function lean(value: number | null | undefined): string {
  return value == null ? NONE : oneDecimal.format(value);
}

/** CPU time in µs. */
export function microseconds(value: number | null | undefined): string {
  return value == null ? NONE : `${rounded(value)} µs`;
}

export function usd(value: number | null | undefined): string {
  return value == null ? NONE : `$${value < 1 ? value.toFixed(4) : value.toFixed(2)}`;
}

/** With the most readable unit: "0.4 ms", "617 ms", "9.5 s", "32 s", "3 min 20 s", "2 h 5 min", "4 d 3 h". */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  const ms = seconds * 1000;
  if (ms < 9.95) return `${ms === 0 ? 0 : ms.toFixed(1)} ms`;
  if (ms < 999.5) return `${ms.toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const total = Math.round(seconds);
  if (total < 120) return `${total} s`;
  if (total < 3600) return parts(total, 60, "min", "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return parts(minutes, 60, "h", "min");
  return parts(Math.round(seconds / 3600), 24, "d", "h");
}

function parts(total: number, per: number, large: string, small: string): string {
  const rest = total % per;
  return `${Math.floor(total / per)} ${large}${rest ? ` ${rest} ${small}` : ""}`;
}

export function milliseconds(ms: number | null | undefined): string {
  return duration(ms == null ? null : ms / 1000);
}

/** A quantile from a histogram, as the edge of its bucket: "≤ 250 ms", or "> 2.5 s" beyond the last edge. */
export function bucket(edge: { ms: number; beyond: boolean } | null | undefined): string {
  return edge == null ? NONE : `${edge.beyond ? ">" : "≤"} ${milliseconds(edge.ms).replace(".0 ", " ")}`;
}

/** "4.2 MiB", three digits at most. */
export function bytes(value: number | null | undefined): string {
  if (value == null) return NONE;
  let size = value;
  let unit = 0;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  while (size >= 999.5 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 || size >= 99.5 ? size.toFixed(0) : size.toFixed(1)} ${units[unit]}`;
}

/** Epoch seconds of an ISO time. */
export function epoch(iso: string): number {
  return Date.parse(iso) / 1000;
}

/** The local time of day. */
export function timeOf(seconds: number): string {
  return clock.format(seconds * 1000);
}

export function dateOf(seconds: number): string {
  return dayAndTime.format(seconds * 1000);
}

export function dayOf(seconds: number): string {
  return day.format(seconds * 1000);
}

/** A time range; the day is written once if both ends are on the same day. */
export function rangeOf(from: number, to: number): string {
  const sameDay = new Date(from * 1000).toDateString() === new Date(to * 1000).toDateString();
  return `${dateOf(from)} to ${sameDay ? timeOf(to) : dateOf(to)}`;
}

/** The time of day, with the date if it is not today. */
export function when(seconds: number, now: number): string {
  const sameDay = new Date(seconds * 1000).toDateString() === new Date(now * 1000).toDateString();
  return sameDay ? timeOf(seconds) : dateOf(seconds);
}
