"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Answer } from "./Answer";
import type { CsvRow } from "./csv";
import { Panel } from "./Panel";
import { type Column, rowsOfTable, Table } from "./Table";

interface Props<Data, Row> {
  name: string;
  title: string;
  note?: ReactNode;
  file: string;
  /** The CSV holds messages, unmasked. */
  raw?: boolean;
  /** Controls beside the title. */
  actions?: ReactNode;
  query: UseQueryResult<Data>;
  rowsOf: (data: Data) => readonly Row[];
  columns: readonly Column<Row>[];
  /** What the CSV holds, where that is not the columns. */
  csvRows?: (rows: readonly Row[]) => CsvRow[];
  keyOf: (row: Row) => string;
  marked?: (row: Row) => boolean;
  tall?: boolean;
  flows?: boolean;
  empty: string;
}

/** A panel that is one table of what a query gave. */
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
      <Answer query={query}>{() => <Table {...table} name={name} caption={title} rows={rows} />}</Answer>
    </Panel>
  );
}
