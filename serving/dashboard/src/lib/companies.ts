/** Names of companies as a user types them, with commas between them. */

/** The most that one request may name, and the most characters of a name. */
export const MOST_COMPANIES = 8;
const MOST_CHARS = 100;

export function companiesOf(typed: string): string[] {
  const names = typed.split(",").map((name) => name.trim().slice(0, MOST_CHARS));
  return [...new Set(names.filter(Boolean))].slice(0, MOST_COMPANIES);
}
