import type { ReactNode } from "react";
import type { CsvRow } from "./csv";
import { ScrollBox } from "./ScrollBox";

export interface Column<Row> {
  head: string;
  /** Of the value in the CSV, where what is shown has units of its own. */
  unit?: string;
  /** What the CSV holds, and what is shown where `show` says nothing else. */
  value: (row: Row) => string | number | null;
  show?: (row: Row) => ReactNode;
  number?: boolean;
  /** Where there is little room it takes a line of its own. */
  wide?: boolean;
  /** Hidden while it says nothing: no value at all, or the same in every row. */
  hidden?: "empty" | "same";
}

interface Props<Row> {
  name: string;
  /** For those who do not see it. */
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  marked?: (row: Row) => boolean;
  /** What tests know a row by. */
  rowName?: string;
  /** It scrolls where it is too high. */
  tall?: boolean;
  /** Where there is little room a row takes several lines. */
  flows?: boolean;
  empty: string;
}

/** A table in a box of its own, which scrolls where it is too wide. The CSV has all columns. */
export function Table<Row>({
  name,
  caption,
  columns,
  rows,
  keyOf,
  marked,
  rowName,
  tall,
  flows,
  empty,
}: Props<Row>) {
  if (!rows.length) return <p className="plain">{empty}</p>;
  const shown = columns.filter((column) => says(column, rows));
  return (
    <ScrollBox label={caption} tall={tall}>
      <table data-testid={`table-${name}`} className={flows ? "flows" : undefined}>
        <caption className="unseen">{caption}</caption>
        <thead>
          <tr>
            {shown.map(({ head, number }) => (
              <th key={head} scope="col" className={number ? "number" : undefined}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} data-testid={rowName} className={marked?.(row) ? "marked" : undefined}>
              {shown.map(({ head, value, show, number, wide }) => (
                <td key={head} data-head={head} className={number ? "number" : wide ? "wide" : undefined}>
                  {show ? show(row) : (value(row) ?? "–")}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </ScrollBox>
  );
}

function says<Row>({ hidden, value }: Column<Row>, rows: readonly Row[]): boolean {
  if (!hidden) return true;
  const values = new Set(rows.map(value));
  return hidden === "same" ? values.size > 1 : values.size > 1 || !values.has(null);
}

export function rowsOfTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): CsvRow[] {
  return rows.map((row) =>
    Object.fromEntries(
      columns.map(({ head, unit, value }) => [unit ? `${head} (${unit})` : head, value(row)]),
    ),
  );
}
