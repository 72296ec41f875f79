/** In the place of a chart that would be empty, as high as that. */
export function Nothing({ words, height }: { words: string; height: number }) {
  return (
    <p className="plain nothing" style={{ minHeight: height }}>
      {words}
    </p>
  );
}
