"use client";

import { useCallback, useMemo } from "react";
import type uPlot from "uplot";
import type { Schemas } from "@/api/client";
import { decadeRange, isDecade } from "@/lib/axes";
import { fixed, lean, rounded } from "@/lib/formats";
import { numberAxis, valueAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { Panel } from "@/ui/Panel";
import type { Theme } from "@/ui/theme";

const HEIGHT = 340;

interface Point {
  name: string;
  cost: number;
  value: number;
  low: number | null;
  high: number | null;
  front: boolean;
  production: boolean;
}

/** Quality and cost: macro-recall of each candidate by its CPU time. */
export function Pareto({ rows }: { rows: readonly Schemas["Candidate"][] }) {
  const points = useMemo(() => rows.flatMap(pointOf).sort((a, b) => a.cost - b.cost), [rows]);
  const data = useMemo((): uPlot.AlignedData => {
    const only = (keep: (point: Point) => boolean) =>
      points.map((point) => (keep(point) ? point.value : null));
    return [
      points.map(({ cost }) => cost),
      only(({ front }) => front),
      only(() => true),
      only(({ production }) => production),
    ];
  }, [points]);
  const over = useCallback((chart: uPlot, theme: Theme) => annotate(chart, theme, points), [points]);
  return (
    <Panel
      name="pareto"
      title="Quality and cost"
      note="Macro-recall by CPU time per text. The line joins the Pareto-optimal models: no other is both more accurate and cheaper. The ring is production."
      csv={{
        file: "pareto",
        rows: () =>
          points.map((point) => ({ ...point, front: `${point.front}`, production: `${point.production}` })),
      }}
    >
      {points.length ? (
        <Chart
          name="pareto"
          label={wordsOf(points)}
          data={data}
          options={options}
          height={HEIGHT}
          under={over}
        />
      ) : (
        <p className="plain">No candidate has both a macro-recall and a measured cost here.</p>
      )}
    </Panel>
  );
}

function pointOf(row: Schemas["Candidate"]): Point[] {
  const { value, low, high } = row.macro_recall;
  if (value === null || row.cpu_us_per_text === null) return [];
  return [
    {
      name: row.name,
      cost: row.cpu_us_per_text,
      value,
      low,
      high,
      front: row.on_front,
      production: row.in_production,
    },
  ];
}

function wordsOf(points: readonly Point[]): string {
  const each = points.map(
    ({ name, cost, value, front, production }) =>
      `${name}${production ? ", in production" : ""}${front ? ", Pareto-optimal" : ""}: ${fixed(value, 3)} at ${rounded(cost)} µs`,
  );
  return `Macro-recall by CPU time per text. ${each.join("; ")}.`;
}

function options(theme: Theme): Omit<uPlot.Options, "width" | "height"> {
  const value = (_: uPlot, recall: number | null) => fixed(recall, 3);
  const dots = (size: number, color: string, fill: string) => ({
    show: true,
    size,
    width: 2,
    stroke: color,
    fill,
  });
  return {
    series: [
      {},
      {
        label: "front",
        stroke: theme.accent,
        width: 2,
        spanGaps: true,
        dash: [6, 4],
        points: { show: false },
        value,
      },
      {
        label: "candidates",
        stroke: theme.ink,
        paths: () => null,
        points: dots(8, theme.ink, theme.ink),
        value,
      },
      {
        label: "production",
        stroke: theme.accent,
        paths: () => null,
        points: dots(18, theme.accent, "transparent"),
        value,
      },
    ],
    axes: [
      { ...valueAxis(theme, decade, "CPU µs per text (logarithmic)"), filter: undefined },
      numberAxis(theme, (at) => fixed(at, 2)),
    ],
    scales: {
      x: { time: false, distr: 3, range: (_, low, high) => decadeRange(low, high) },
      y: {
        range: (_, low, high) => [Math.floor((low - 0.03) * 20) / 20, Math.ceil((high + 0.03) * 20) / 20],
      },
    },
    cursor: { show: false },
  };
}

/** Only whole decades have a tick label. */
function decade(value: number): string {
  return isDecade(value) ? lean(value) : "";
}

/** Draw the interval and the name of each candidate. */
function annotate(chart: uPlot, theme: Theme, points: readonly Point[]): void {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.fillStyle = theme.ink;
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "bottom";
  for (const { name, cost, value, low, high, production } of points) {
    const x = chart.valToPos(cost, "x", true);
    const y = chart.valToPos(value, "y", true);
    if (low !== null && high !== null) {
      ctx.strokeStyle = theme.quiet;
      ctx.lineWidth = ratio;
      ctx.beginPath();
      ctx.moveTo(x, chart.valToPos(low, "y", true));
      ctx.lineTo(x, chart.valToPos(high, "y", true));
      ctx.stroke();
    }
    const right = x + 14 * ratio + ctx.measureText(name).width < bbox.left + bbox.width;
    ctx.textAlign = right ? "left" : "right";
    ctx.strokeStyle = theme.card;
    ctx.lineWidth = 4 * ratio;
    ctx.strokeText(name, x + (right ? 1 : -1) * (production ? 10 : 6) * ratio, y - 5 * ratio);
    ctx.fillText(name, x + (right ? 1 : -1) * (production ? 10 : 6) * ratio, y - 5 * ratio);
  }
  ctx.restore();
}
