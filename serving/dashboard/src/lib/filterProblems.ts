import { filters } from "./filters";
import { HEADS, LABELS } from "./labels";
import { rangeProblem, SPAN_WORDS, SPANS } from "./spans";

const CHOICES: Record<string, { name: string; values: readonly string[]; instead: string }> = {
  span: { name: "Time", values: SPANS, instead: `showing the ${SPAN_WORDS["10m"]}` },
  by: { name: "Chart", values: ["label", "source"], instead: "showing points" },
  label: { name: "Label", values: LABELS, instead: "showing all labels" },
  domain: { name: "Domain", values: HEADS, instead: "showing all domains" },
  sarcasm: { name: "Sarcasm", values: ["sarcastic"], instead: "showing all messages" },
  axis: { name: "Axis", values: ["fit"], instead: "showing 0 to 100" },
};
const KNOWN = Object.keys(filters);

/** Describe each query parameter that is not a valid filter; the page uses the default instead. */
export function filterProblems(given: Iterable<[string, string]>, now: number): string[] {
  const values = new Map(given);
  const problems: string[] = [];
  for (const [key, value] of values) {
    const choice = CHOICES[key];
    if (choice && value && !choice.values.includes(value))
      problems.push(
        `${choice.name} "${value}" is not one of ${choice.values.join(", ")}; ${choice.instead}.`,
      );
    if (!KNOWN.includes(key)) problems.push(`"${key}" is not a filter; known are ${KNOWN.join(", ")}.`);
  }
  const time = (key: string) => (values.has(key) ? Date.parse(values.get(key) ?? "") / 1000 : null);
  const [from, to] = [time("from"), time("to")];
  for (const [key, at] of Object.entries({ from, to }))
    if (at !== null && Number.isNaN(at))
      problems.push(`"${key}=${values.get(key)}" is not a time such as 2026-11-28T06:30:00Z.`);
  if ((from !== null || to !== null) && ![from, to].some((at) => Number.isNaN(at))) {
    const problem = rangeProblem(from, to, now);
    if (problem) problems.push(problem);
  }
  return problems;
}
