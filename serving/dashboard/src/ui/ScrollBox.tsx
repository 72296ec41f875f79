import type { ReactNode } from "react";

interface Props {
  label: string;
  tall?: boolean;
  children: ReactNode;
}

/** A box that scrolls if its content is too wide or too high, also with the keyboard. */
export function ScrollBox({ label, tall, children }: Props) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms, and one landmark per table would be too many
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrollable box must be reachable with the keyboard
    <div className={tall ? "scroll tall" : "scroll"} role="group" tabIndex={0} aria-label={label}>
      {children}
    </div>
  );
}
