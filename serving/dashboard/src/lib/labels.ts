import type { Schemas } from "@/api/client";

export type Label = Schemas["Message"]["label"];

/** In the order of every table, bar and matrix. */
export const LABELS: readonly Label[] = ["negative", "neutral", "positive"];

/** A shape beside the color, so that color is never the only sign. */
export const LABEL_SHAPES: Record<Label, string> = { negative: "▼", neutral: "●", positive: "▲" };
