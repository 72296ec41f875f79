"use client";

import { useEffect, useRef } from "react";
import uPlot from "uplot";
import { type Theme, useTheme } from "./theme";

interface Props {
  name: string;
  /** What it shows now, in words. */
  label: string;
  data: uPlot.AlignedData;
  /** Makes the chart; another function makes another chart. */
  options: (theme: Theme) => Omit<uPlot.Options, "width" | "height">;
  height: number;
  /** Where the horizontal axis begins and ends; none: with the data. */
  range?: readonly [number, number];
  /** Draws what lies under the lines. */
  under?: (chart: uPlot, theme: Theme) => void;
}

/** A uPlot. It takes new data without being made anew. */
export function Chart({ name, label, data, options, height, range, under }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>(null);
  const now = useRef({ data, range, under });
  now.current = { data, range, under };
  const theme = useTheme();

  useEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot(
      whole(options(theme), theme, now, element.clientWidth, height),
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

  // biome-ignore lint/correctness/useExhaustiveDependencies: the chart reads range and what lies under from `now`
  useEffect(() => {
    chart.current?.setData(data);
  }, [data, range?.[0], range?.[1], under]);

  return <div className="chart" data-testid={`chart-${name}`} role="img" aria-label={label} ref={host} />;
}

type Now = React.RefObject<Pick<Props, "data" | "range" | "under">>;

function whole(
  options: Omit<uPlot.Options, "width" | "height">,
  theme: Theme,
  now: Now,
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
    scales: { ...options.scales, x: { ...options.scales?.x, range: ranged } },
    cursor: { ...options.cursor, drag: { x: false, y: false, setScale: false } },
    hooks: { ...options.hooks, drawAxes: [(self) => now.current.under?.(self, theme)] },
  };
}
