const KINDS: Record<string, (value: string) => string> = {
  source: (value) => `dataset ${value}`,
  domain: (value) => `domain ${value}`,
  length: (value) => `${value} texts`,
};

/** The name of a slice as text. A slice with two names has the same rows under both. */
export function sliceWords(names: readonly string[]): string {
  return names
    .map((name) => {
      const [kind = "", value] = name.split("=");
      return value === undefined ? name : (KINDS[kind]?.(value) ?? name);
    })
    .join(" · ");
}
