"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import type { CsvRow } from "./csv";
import { Panel } from "./Panel";
import { QueryContent } from "./QueryContent";
import { type Column, rowsOfTable, Table } from "./Table";

interface Props<Data, Row> {
  name: string;
  title: string;
  note?: ReactNode;
  file: string;
  /** The CSV contains messages, unmasked. */
  raw?: boolean;
  /** Controls next to the title. */
  actions?: ReactNode;
  query: UseQueryResult<Data>;
  rowsOf: (data: Data) => readonly Row[];
  columns: readonly Column<Row>[];
  /** The rows of the CSV, if they differ from the columns. */
  csvRows?: (rows: readonly Row[]) => CsvRow[];
  keyOf: (row: Row) => string;
  marked?: (row: Row) => boolean;
  tall?: boolean;
  flows?: boolean;
  empty: string;
}

/** A panel with one table, filled by a query. */
export function QueryTable<Data, Row>(props: Props<Data, Row>) {
  const { name, title, note, file, raw, actions, query, rowsOf, csvRows, ...table } = props;
  const rows = query.data === undefined ? [] : rowsOf(query.data);
  return (
    <Panel
      name={name}
      title={title}
      note={note}
      actions={actions}
      csv={{ file, raw, rows: () => csvRows?.(rows) ?? rowsOfTable(table.columns, rows) }}
    >
      <QueryContent query={query}>
        {() => <Table {...table} name={name} caption={title} rows={rows} />}
      </QueryContent>
    </Panel>
  );
}
