/** One line of a chart: its name, its style, and its value at the pointer; without a pointer, its last value. */
export interface LegendItem {
  name: string;
  value: string;
  /** Left out for an item that is not drawn, such as the time. */
  color?: string;
  dash?: readonly number[];
  kind?: "line" | "dots" | "area";
}

export function Legend({ name, items }: { name: string; items: readonly LegendItem[] }) {
  return (
    <ul className="legend" data-testid={`legend-${name}`}>
      {items.map((item) => (
        <li key={item.name}>
          {item.color && <Swatch {...item} color={item.color} />}
          <span className="quiet">{item.name}</span> <strong>{item.value}</strong>
        </li>
      ))}
    </ul>
  );
}

function Swatch({ color, dash, kind = "line" }: { color: string; dash?: readonly number[]; kind?: string }) {
  return (
    <svg width="22" height="10" aria-hidden="true">
      {kind === "area" && <rect width="22" height="10" fill={color} />}
      {kind === "dots" && [4, 11, 18].map((x) => <circle key={x} cx={x} cy="5" r="2" fill={color} />)}
      {kind === "line" && (
        <line
          x1="0"
          x2="22"
          y1="5"
          y2="5"
          stroke={color}
          strokeWidth="2.5"
          strokeDasharray={dash?.join(" ")}
        />
      )}
    </svg>
  );
}
