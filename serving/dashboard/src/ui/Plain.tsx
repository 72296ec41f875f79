import type { ReactNode } from "react";

interface Props {
  /** What tests know it by: `state-…`. */
  state: string;
  title: string;
  tone?: "calm" | "bad";
  children: ReactNode;
}

/** A state of the whole page, said plainly. */
export function Plain({ state, title, tone = "calm", children }: Props) {
  return (
    <div className={`state ${tone}`} data-testid={`state-${state}`} role="status">
      <strong>{title}</strong> <span>{children}</span>
    </div>
  );
}
