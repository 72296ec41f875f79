import type { Schemas } from "@/api/client";

export type Label = Schemas["Message"]["label"];

/** The labels in the order that every table, bar and matrix uses. */
/** What a message may be decided by: the head of a domain, or `general`. */
export const HEADS = ["general", "tweets", "reviews", "support", "finance", "news"] as const;

export const LABELS: readonly Label[] = ["negative", "neutral", "positive"];

/** A shape next to the color, so that color is never the only sign. */
export const LABEL_SHAPES: Record<Label, string> = { negative: "▼", neutral: "●", positive: "▲" };
