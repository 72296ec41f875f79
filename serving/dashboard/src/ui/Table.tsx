import type { ReactNode } from "react";
import type { CsvRow } from "./csv";
import { ScrollBox } from "./ScrollBox";

export interface Column<Row> {
  head: string;
  /** The unit of the value in the CSV; the table shows its own units. */
  unit?: string;
  /** The value in the CSV, and in the table unless `show` is given. */
  value: (row: Row) => string | number | null;
  show?: (row: Row) => ReactNode;
  number?: boolean;
  /** On a narrow screen the cell takes a line of its own. */
  wide?: boolean;
  /** Hide the column while it has no value at all (`empty`), or the same value in every row (`same`). */
  hidden?: "empty" | "same";
}

interface Props<Row> {
  name: string;
  /** The caption for screen readers. */
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  marked?: (row: Row) => boolean;
  /** The test id of a row. */
  rowName?: string;
  /** The table scrolls if it is too high. */
  tall?: boolean;
  /** On a narrow screen a row takes several lines. */
  flows?: boolean;
  empty: string;
}

/** A table in a box that scrolls if the table is too wide. The CSV has all columns. */
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
  const shown = columns.filter((column) => isVisible(column, rows));
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

function isVisible<Row>({ hidden, value }: Column<Row>, rows: readonly Row[]): boolean {
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
