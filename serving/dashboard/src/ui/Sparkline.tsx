interface Props {
  values: readonly (number | null)[];
  /** The content of the line as text. */
  label: string;
}

const WIDTH = 72;
const HEIGHT = 20;

/** A small line from 0 to 100, with gaps where there is no value. */
export function Sparkline({ values, label }: Props) {
  const step = WIDTH / Math.max(1, values.length - 1);
  let path = "";
  let pen = "M";
  for (const [at, value] of values.entries()) {
    if (value === null) pen = "M";
    else {
      path += `${pen}${(at * step).toFixed(1)},${(HEIGHT - (value / 100) * HEIGHT).toFixed(1)}`;
      pen = "L";
    }
  }
  return (
    <svg
      className="spark"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      width={WIDTH}
      height={HEIGHT}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <title>{label}</title>
      <line x1="0" x2={WIDTH} y1={HEIGHT / 2} y2={HEIGHT / 2} className="middle" />
      <path d={path} fill="none" />
    </svg>
  );
}
