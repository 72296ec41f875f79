/** Epoch seconds as an `<input type="datetime-local">` writes them, in local time. */
export function inputOf(seconds: number): string {
  const at = new Date(seconds * 1000);
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** The inverse; null where it is no time. */
export function parseInput(value: string): number | null {
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? null : Math.floor(ms / 1000);
}
