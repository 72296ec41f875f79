const KINDS: Record<string, (value: string) => string> = {
  source: (value) => `dataset ${value}`,
  domain: (value) => `domain ${value}`,
  length: (value) => `${value} texts`,
};

/** The names of a slice in words; two names are of the same rows. */
export function sliceWords(names: readonly string[]): string {
  return names
    .map((name) => {
      const [kind = "", value] = name.split("=");
      return value === undefined ? name : (KINDS[kind]?.(value) ?? name);
    })
    .join(" · ");
}
