/** In the place of a chart that would be empty. */
export function Nothing({ words }: { words: string }) {
  return <p className="plain nothing">{words}</p>;
}
