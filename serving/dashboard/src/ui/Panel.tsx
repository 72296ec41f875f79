"use client";

import type { ReactNode } from "react";
import { type CsvRow, downloadCsv } from "./csv";

interface Props {
  name: string;
  title: string;
  /** A sentence under the title. */
  note?: ReactNode;
  /** Controls beside the title. */
  actions?: ReactNode;
  csv?: {
    file: string;
    rows: () => CsvRow[];
    /** It holds messages, unmasked. */
    raw?: boolean;
  };
  children: ReactNode;
}

/** The frame of a panel: a titled section, with what it shows as CSV. */
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
              title={csv.raw ? "Texts in the CSV are as they were sent: nothing is masked." : undefined}
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
