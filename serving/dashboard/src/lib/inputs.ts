/** Epoch seconds as the value of an `<input type="datetime-local">`, in local time. */
export function inputOf(seconds: number): string {
  const at = new Date(seconds * 1000);
  const local = new Date(at.getTime() - at.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19);
}

/** The inverse of `inputOf`; null if the value is not a time. */
export function parseInput(value: string): number | null {
  const ms = Date.parse(value);
  return Number.isNaN(ms) ? null : Math.floor(ms / 1000);
}
