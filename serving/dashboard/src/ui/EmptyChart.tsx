/** A text in place of an empty chart, at the height of the chart. */
export function EmptyChart({ words, height }: { words: string; height: number }) {
  return (
    <p className="plain nothing" style={{ minHeight: height }}>
      {words}
    </p>
  );
}
