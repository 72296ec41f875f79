"use client";

import { usePanel } from "@/api/panels";
import { count, percent } from "@/lib/formats";
import type { Label } from "@/lib/labels";
import { MessageText } from "@/ui/MessageText";
import { QueryContent } from "@/ui/QueryContent";
import { ScrollBox } from "@/ui/ScrollBox";

interface Props {
  name: string;
  label: Label;
  predicted: Label;
}

/** Texts of a cell of the confusion matrix, the most confident predictions first. */
export function Examples({ name, label, predicted }: Props) {
  const query = usePanel("errors", { name, label, predicted }, { every: 60_000 });
  return (
    <div className="examples" data-testid="examples">
      <h3>
        True {label}, predicted {predicted}
      </h3>
      <QueryContent query={query}>
        {({ rows, examples }) => (
          <>
            <p className="note">
              {rows > examples.length
                ? `The ${examples.length} most confident of ${count(rows)} test texts.`
                : `${count(rows)} test texts.`}
            </p>
            <ScrollBox label="Test texts of this cell" tall>
              <ul className="texts">
                {examples.map(({ text, confidence }, at) => (
                  // biome-ignore lint/suspicious/noArrayIndexKey: two texts may be the same
                  <li key={at}>
                    <span className="quiet">{percent(confidence)}</span> <MessageText text={text} />
                  </li>
                ))}
              </ul>
            </ScrollBox>
          </>
        )}
      </QueryContent>
    </div>
  );
}
