"use client";

import { useCallback, useMemo } from "react";
import type uPlot from "uplot";
import { decadeRange, isDecade } from "@/lib/axes";
import { fixed, lean, rounded } from "@/lib/formats";
import { numberAxis, valueAxis } from "@/ui/axes";
import { Chart } from "@/ui/Chart";
import { Panel } from "@/ui/Panel";
import type { Theme } from "@/ui/theme";

const HEIGHT = 340;

export interface QualityPoint {
  /** Drawn next to the point; empty: no name. */
  name: string;
  /** CPU µs per text. */
  cost: number;
  /** Macro-recall, 0 to 1. */
  value: number;
  low: number | null;
  high: number | null;
  /** On the line. */
  front: boolean;
  /** In the ring. */
  ring: boolean;
}

interface Props {
  name: string;
  title: string;
  note: string;
  points: readonly QualityPoint[];
  /** What a point in the ring is, and one on the line. */
  words: { ring: string; front: string };
  empty: string;
}

/** Quality and cost: macro-recall by CPU time. */
export function QualityChart({ name, title, note, points, words, empty }: Props) {
  const data = useMemo((): uPlot.AlignedData => {
    const only = (keep: (point: QualityPoint) => boolean) =>
      points.map((point) => (keep(point) ? point.value : null));
    return [
      points.map(({ cost }) => cost),
      only(({ front }) => front),
      only(() => true),
      only(({ ring }) => ring),
    ];
  }, [points]);
  const over = useCallback((chart: uPlot, theme: Theme) => annotate(chart, theme, points), [points]);
  return (
    <Panel
      name={name}
      title={title}
      note={note}
      csv={{
        file: name,
        rows: () => points.map((point) => ({ ...point, front: `${point.front}`, ring: `${point.ring}` })),
      }}
    >
      {points.length ? (
        <Chart
          name={name}
          label={wordsOf(points, words)}
          data={data}
          options={options}
          height={HEIGHT}
          under={over}
        />
      ) : (
        <p className="plain">{empty}</p>
      )}
    </Panel>
  );
}

function wordsOf(points: readonly QualityPoint[], words: Props["words"]): string {
  const each = points
    .filter((point) => point.name)
    .map(
      ({ name, cost, value, front, ring }) =>
        `${name}${ring ? `, ${words.ring}` : ""}${front && words.front ? `, ${words.front}` : ""}: ${fixed(value, 3)} at ${rounded(cost)} µs`,
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
        label: "points",
        stroke: theme.ink,
        paths: () => null,
        points: dots(8, theme.ink, theme.ink),
        value,
      },
      {
        label: "ring",
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

/** Draw the interval and the name of each point. */
function annotate(chart: uPlot, theme: Theme, points: readonly QualityPoint[]): void {
  const { ctx, bbox } = chart;
  const ratio = devicePixelRatio;
  ctx.save();
  ctx.fillStyle = theme.ink;
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  ctx.textBaseline = "bottom";
  for (const { name, cost, value, low, high, ring } of points) {
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
    if (!name) continue;
    const right = x + 14 * ratio + ctx.measureText(name).width < bbox.left + bbox.width;
    ctx.textAlign = right ? "left" : "right";
    ctx.strokeStyle = theme.card;
    ctx.lineWidth = 4 * ratio;
    ctx.strokeText(name, x + (right ? 1 : -1) * (ring ? 10 : 6) * ratio, y - 5 * ratio);
    ctx.fillText(name, x + (right ? 1 : -1) * (ring ? 10 : 6) * ratio, y - 5 * ratio);
  }
  ctx.restore();
}
