"use client";

import { useMemo } from "react";
import type { Schemas } from "@/api/client";
import { QualityChart, type QualityPoint } from "./QualityChart";

type Point = Schemas["OperatingPoint"];

/** The operating points of the served bundle: what each costs, and what to expect of it. */
export function OperatingPoints({ model }: { model: Schemas["ModelShown"] }) {
  const { points, point: now } = model;
  const shown = useMemo(() => points.flatMap((point) => shownPoint(point, now)), [points, now]);
  if (points.length < 2) return null;
  return (
    <QualityChart
      name="points"
      title="Tiers and operating points"
      note="Macro-recall on validation texts by CPU time per text, of the served bundle. Named: a tier alone. Between them a tier classifies, and base where it is not confident. The ring is what requests get that name no tier."
      points={shown}
      words={{ ring: "used now", front: "" }}
      empty="The bundle has one tier."
    />
  );
}

function shownPoint(point: Point, now: string): QualityPoint[] {
  const { tier, threshold, cpu_us, macro_recall } = point;
  if (typeof cpu_us !== "number" || typeof macro_recall !== "number") return [];
  const ring = now === nameOf(point);
  return [
    {
      name: threshold && !ring ? "" : nameOf({ tier, threshold }),
      cost: cpu_us,
      value: macro_recall,
      low: null,
      high: null,
      front: true,
      ring,
    },
  ];
}

/** As the service writes it: the tier, and with @ the confidence below which base classifies. */
function nameOf({ tier, threshold }: Pick<Point, "tier" | "threshold">): string {
  return threshold ? `${tier}@${threshold}` : tier;
}
