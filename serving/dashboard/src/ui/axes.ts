import type uPlot from "uplot";
import type { Theme } from "./theme";

const FONT = "12px system-ui, sans-serif";
const Y_WIDTH = 52;

function axis(theme: Theme): uPlot.Axis {
  return {
    stroke: theme.quiet,
    font: FONT,
    grid: { stroke: theme.line, width: 1 },
    ticks: { show: false },
    gap: 6,
  };
}

/** The time of day, with seconds where the ticks are less than a minute apart. */
export function timeAxis(theme: Theme): uPlot.Axis {
  const values: uPlot.Axis["values"] = (_, splits, __, ___, step) =>
    splits.map((second) =>
      new Date(second * 1000).toLocaleTimeString("en-GB", {
        hour: "2-digit",
        minute: "2-digit",
        ...(step < 60 && { second: "2-digit" }),
      }),
    );
  return { ...axis(theme), grid: { show: false }, values, space: 80, size: 30 };
}

export function numberAxis(theme: Theme, format: (value: number) => string): uPlot.Axis {
  return {
    ...axis(theme),
    size: Y_WIDTH,
    values: (_, splits) => splits.map((value) => (value == null ? "" : format(value))),
  };
}

/** A horizontal axis that is not of time. */
export function valueAxis(theme: Theme, format: (value: number) => string, label: string): uPlot.Axis {
  const named = { label, labelSize: 20, labelFont: FONT, labelGap: 0, size: 30, space: 60 };
  return { ...numberAxis(theme, format), ...named };
}
