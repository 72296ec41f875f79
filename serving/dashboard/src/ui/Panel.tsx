"use client";

import type { ReactNode } from "react";
import { type CsvRow, downloadCsv } from "./csv";

interface Props {
  name: string;
  title: string;
  /** A sentence under the title. */
  note?: ReactNode;
  /** Controls next to the title. */
  actions?: ReactNode;
  csv?: {
    file: string;
    rows: () => CsvRow[];
    /** The CSV contains messages, unmasked. */
    raw?: boolean;
  };
  children: ReactNode;
}

/** The frame of a panel: a section with a title, and its data as CSV. */
export function Panel({ name, title, note, actions, csv, children }: Props) {
  return (
    <section className={`panel panel-${name}`} aria-labelledby={`title-${name}`}>
      <header>
        <h2 id={`title-${name}`}>{title}</h2>
        <div className="actions">
          {actions}
          {csv && (
            <button
              type="button"
              className="small"
              data-testid={`csv-${name}`}
              aria-label={`Download ${title} as CSV${csv.raw ? ", unmasked" : ""}`}
              title={csv.raw ? "The CSV has the original texts; nothing is masked." : undefined}
              onClick={() => downloadCsv(csv.file, csv.rows())}
            >
              {csv.raw ? "CSV, unmasked" : "CSV"}
            </button>
          )}
        </div>
      </header>
      {note && <p className="note">{note}</p>}
      {children}
    </section>
  );
}
