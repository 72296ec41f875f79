import { useMemo, useSyncExternalStore } from "react";

const NAMES = [
  "card",
  "ink",
  "quiet",
  "line",
  "accent",
  "band",
  "dot",
  "negative",
  "neutral",
  "positive",
  "negative-ink",
  "negative-soft",
  "positive-soft",
  "s1",
  "s2",
  "s3",
  "s4",
  "s5",
] as const;

/** The colors of `styles/tokens.css` for use on a canvas. */
export type Theme = Record<(typeof NAMES)[number], string>;

const DARK = "(prefers-color-scheme: dark)";

function subscribe(listener: () => void): () => void {
  const query = matchMedia(DARK);
  query.addEventListener("change", listener);
  return () => query.removeEventListener("change", listener);
}

/** The current colors; charts are created again when the system switches between light and dark. */
export function useTheme(): Theme {
  const dark = useSyncExternalStore(
    subscribe,
    () => matchMedia(DARK).matches,
    () => false,
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the computed style differs when the scheme changes
  return useMemo(() => {
    const style = typeof window === "undefined" ? null : getComputedStyle(document.documentElement);
    return Object.fromEntries(
      NAMES.map((name) => [name, style?.getPropertyValue(`--${name}`).trim() ?? ""]),
    ) as Theme;
  }, [dark]);
}
