"use client";

import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import { Legend, type LegendItem } from "./Legend";
import { type Theme, useTheme } from "./theme";

interface Props {
  name: string;
  /** The current content of the chart as text. */
  label: string;
  data: uPlot.AlignedData;
  /** Options of the chart. When the function changes, the chart is created again. */
  options: (theme: Theme) => Omit<uPlot.Options, "width" | "height">;
  height: number;
  /** The range of the horizontal axis; without it, the range of the data. */
  range?: readonly [number, number];
  /** Draws under the lines. */
  under?: (chart: uPlot, theme: Theme) => void;
  /** The values at an index of the data; null: the pointer is outside the chart, so the last values. */
  legend?: (at: number | null, theme: Theme) => LegendItem[];
  /** Receives the part of the horizontal axis that was selected by dragging. */
  onZoom?: (from: number, to: number) => void;
}

const LEAST_DRAG_PX = 6;

/** A uPlot chart with a legend that always shows values. New data does not create the chart again. */
export function Chart({ name, label, data, options, height, range, under, legend, onZoom }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(null);
  const now = useRef({ data, range, under, onZoom });
  now.current = { data, range, under, onZoom };
  const theme = useTheme();
  const [pointed, setPointed] = useState<number | null>(null);

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot(
      whole(options(theme), theme, now, setPointed, element.clientWidth, height),
      now.current.data,
      element,
    );
    chart.current = made;
    const watch = new ResizeObserver(() => {
      if (element.clientWidth) made.setSize({ width: element.clientWidth, height });
    });
    watch.observe(element);
    return () => {
      watch.disconnect();
      made.destroy();
      chart.current = null;
    };
  }, [options, theme, height]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: the chart reads `range` and `under` from `now`
  useEffect(() => {
    chart.current?.setData(data);
  }, [data, range?.[0], range?.[1], under]);

  return (
    <>
      <div
        className="chart"
        data-testid={`chart-${name}`}
        role="img"
        aria-label={label}
        style={{ minHeight: height }}
        ref={host}
      />
      {legend && <Legend name={name} items={legend(pointed, theme)} />}
    </>
  );
}

type Now = React.RefObject<Pick<Props, "data" | "range" | "under" | "onZoom">>;

function whole(
  options: Omit<uPlot.Options, "width" | "height">,
  theme: Theme,
  now: Now,
  point: (at: number | null) => void,
  width: number,
  height: number,
): uPlot.Options {
  const ranged: uPlot.Range.Function = (self, min, max, key) => {
    if (now.current.range) return [...now.current.range];
    const own = options.scales?.x?.range;
    return typeof own === "function" ? own(self, min, max, key) : [min, max];
  };
  return {
    ...options,
    width,
    height,
    legend: { show: false },
    scales: { ...options.scales, x: { ...options.scales?.x, range: ranged } },
    cursor: { ...options.cursor, drag: { x: Boolean(now.current.onZoom), y: false, setScale: false } },
    hooks: {
      ...options.hooks,
      drawAxes: [(self) => now.current.under?.(self, theme)],
      setCursor: [(self) => point(self.cursor.idx ?? null)],
      setSelect: [(self) => zoom(self, now.current.onZoom)],
    },
  };
}

function zoom(chart: uPlot, take: Props["onZoom"]): void {
  const { left, width } = chart.select;
  if (!width) return;
  const [from, to] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
  chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  if (width >= LEAST_DRAG_PX) take?.(Math.floor(from), Math.max(Math.floor(from) + 1, Math.ceil(to)));
}
