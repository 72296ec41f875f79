export type CsvRow = Record<string, string | number | null>;

/** Download rows as CSV. Cells that a spreadsheet would run as a formula are escaped. */
export async function downloadCsv(name: string, rows: CsvRow[]): Promise<void> {
  const { unparse } = await import("papaparse");
  const blob = new Blob([unparse(rows, { escapeFormulae: true })], { type: "text/csv;charset=utf-8" });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${name}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The rows of a chart: a column of `x`, then one column per series. */
export function rowsOfChart(
  names: readonly string[],
  data: readonly ArrayLike<number | null | undefined>[],
): CsvRow[] {
  const [x, ...series] = data;
  return Array.from(x ?? [], (value, at) => ({
    [names[0] ?? "x"]:
      names[0] === "time" && value != null ? new Date(value * 1000).toISOString() : (value ?? null),
    ...Object.fromEntries(
      series.map((values, index) => [names[index + 1] ?? `${index}`, values[at] ?? null]),
    ),
  }));
}
