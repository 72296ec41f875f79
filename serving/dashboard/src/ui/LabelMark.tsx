import { LABEL_SHAPES, type Label } from "@/lib/labels";

/** A label as a shape, a color and a word. */
export function LabelMark({ label }: { label: Label }) {
  return (
    <span className={`label ${label}`}>
      <span aria-hidden="true">{LABEL_SHAPES[label]}</span> {label}
    </span>
  );
}
