"use client";

import type { UseQueryResult } from "@tanstack/react-query";
import type { PanelResponse } from "@/api/panels";
import { count, fixed, signed } from "@/lib/formats";
import { Panel } from "@/ui/Panel";
import { ScrollBox } from "@/ui/ScrollBox";

type Response = PanelResponse<"transfer">;

/** The domain-transfer matrix: rows are what a model learned from, columns the domains it was evaluated on. */
export function Transfer({ query: { data } }: { query: UseQueryResult<Response> }) {
  if (!data?.cells.length) return null;
  const learned = [...new Set(data.cells.map((cell) => cell.learned))];
  const domains = [...new Set(data.cells.map((cell) => cell.domain))];
  const at = (row: string, domain: string) =>
    data.cells.find((cell) => cell.learned === row && cell.domain === domain)?.macro_recall;
  const csv = () =>
    learned.map((row) => ({
      "learned from": row,
      ...Object.fromEntries(domains.map((domain) => [domain, at(row, domain)?.value ?? null])),
    }));
  return (
    <Panel
      name="transfer"
      title="Domain transfer"
      note={`Macro-recall of ${data.candidate}. Rows: what a model learned from, heads and generalist from all domains. Columns: the domain that it was evaluated on.`}
      csv={{ file: "transfer", rows: csv }}
    >
      <ScrollBox label="Domain transfer">
        <table className="confusion" data-testid="table-transfer">
          <thead>
            <tr>
              <th scope="col">learned from</th>
              {domains.map((domain) => (
                <th key={domain} scope="col" className="number">
                  {domain}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {learned.map((row) => (
              <tr key={row}>
                <th scope="row">
                  {row}{" "}
                  {row in data.learned_rows && (
                    <span className="quiet">{count(data.learned_rows[row])} texts</span>
                  )}
                </th>
                {domains.map((domain) => (
                  <Cell key={domain} own={row === domain} of={at(row, domain)} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollBox>
      <ul className="plain">
        {data.gains.map(({ domain, over, difference: { value, low, high } }) => (
          <li key={`${domain}/${over}`}>
            {domain}: heads {signed(100 * (value ?? 0), 1)} points over{" "}
            {over === domain ? "the model of that domain" : over} [{signed(100 * (low ?? 0), 1)},{" "}
            {signed(100 * (high ?? 0), 1)}]
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Cell({ of, own }: { of: Response["cells"][number]["macro_recall"] | undefined; own: boolean }) {
  const value = of?.value ?? null;
  // A third is chance.
  const part = `${Math.max(0, 150 * ((value ?? 0) - 1 / 3))}%`;
  return (
    <td
      className="number shaded"
      style={{ "--part": part } as React.CSSProperties}
      title={`${fixed(of?.low, 3)} to ${fixed(of?.high, 3)}`}
    >
      {own ? <strong>{fixed(value, 3)}</strong> : fixed(value, 3)}
    </td>
  );
}
