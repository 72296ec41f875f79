import type { ReactNode } from "react";

interface Props {
  /** The test id of the notice: `state-…`. */
  state: string;
  title: string;
  tone?: "calm" | "bad";
  children: ReactNode;
}

/** A notice about the state of the whole page. */
export function Notice({ state, title, tone = "calm", children }: Props) {
  return (
    <div className={`state ${tone}`} data-testid={`state-${state}`} role="status">
      <strong>{title}</strong> <span>{children}</span>
    </div>
  );
}
