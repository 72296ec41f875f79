interface Figure {
  name: string;
  value: string;
  unit: string;
}

/** Numbers that matter, large. */
export function Figures({ figures }: { figures: readonly Figure[] }) {
  return (
    <dl className="figures">
      {figures.map(({ name, value, unit }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <span className="value">{value}</span> <span className="quiet">{unit}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}
