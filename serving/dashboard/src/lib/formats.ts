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

/** What stands where there is no number. */
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

/** With its sign, and a true minus. */
export function signed(value: number, digits: number): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? `±${text}` : `${value < 0 ? "−" : "+"}${text}`;
}

/** Three digits that say something, whatever the size. */
export function rounded(value: number | null | undefined): string {
  if (value == null) return NONE;
  if (value >= 1000) return whole.format(value);
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** At most one decimal, and none for its own sake. */
export function lean(value: number | null | undefined): string {
  return value == null ? NONE : oneDecimal.format(value);
}

export function usd(value: number | null | undefined): string {
  return value == null ? NONE : `$${value < 1 ? value.toFixed(4) : value.toFixed(2)}`;
}

/** "3 m 20 s"; up to two minutes in seconds. */
export function duration(seconds: number | null | undefined): string {
  if (seconds == null) return NONE;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const total = Math.round(seconds);
  if (total < 120) return `${total} s`;
  if (total < 3600) return `${Math.floor(total / 60)} m ${total % 60} s`;
  if (total < 86_400) return `${Math.floor(total / 3600)} h ${Math.floor((total % 3600) / 60)} m`;
  return `${Math.floor(total / 86_400)} d ${Math.floor((total % 86_400) / 3600)} h`;
}

/** Epoch seconds of an ISO time. */
export function epoch(iso: string): number {
  return Date.parse(iso) / 1000;
}

/** The time of day, here. */
export function timeOf(seconds: number): string {
  return clock.format(seconds * 1000);
}

export function dateOf(seconds: number): string {
  return dayAndTime.format(seconds * 1000);
}

/** The time of day, with the day where that is not today. */
export function when(seconds: number, now: number): string {
  const sameDay = new Date(seconds * 1000).toDateString() === new Date(now * 1000).toDateString();
  return sameDay ? timeOf(seconds) : dateOf(seconds);
}
