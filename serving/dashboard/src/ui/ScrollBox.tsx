import type { ReactNode } from "react";

interface Props {
  label: string;
  tall?: boolean;
  children: ReactNode;
}

/** Holds what may be wider or higher than its place; the keyboard reaches it to scroll. */
export function ScrollBox({ label, tall, children }: Props) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms, and a landmark a table would be too many
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached with the keyboard
    <div className={tall ? "scroll tall" : "scroll"} role="group" tabIndex={0} aria-label={label}>
      {children}
    </div>
  );
}
