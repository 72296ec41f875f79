"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Answer } from "./Answer";
import { Panel } from "./Panel";
import { type Column, rowsOfTable, Table } from "./Table";

interface Props<Data, Row> {
  name: string;
  title: string;
  note?: ReactNode;
  file: string;
  query: UseQueryResult<Data>;
  rowsOf: (data: Data) => readonly Row[];
  columns: readonly Column<Row>[];
  keyOf: (row: Row) => string;
  marked?: (row: Row) => boolean;
  tall?: boolean;
  flows?: boolean;
  empty: string;
}

/** A panel that is one table of what a query answered. */
export function QueryTable<Data, Row>(props: Props<Data, Row>) {
  const { name, title, note, file, query, rowsOf, ...table } = props;
  const rows = query.data === undefined ? [] : rowsOf(query.data);
  return (
    <Panel name={name} title={title} note={note} csv={{ file, rows: () => rowsOfTable(table.columns, rows) }}>
      <Answer query={query}>{() => <Table {...table} name={name} caption={title} rows={rows} />}</Answer>
    </Panel>
  );
}
