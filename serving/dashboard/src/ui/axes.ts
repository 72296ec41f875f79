import type uPlot from "uplot";
import { dateOf, dayOf } from "@/lib/formats";
import type { Theme } from "./theme";

const FONT = "12px system-ui, sans-serif";
const Y_WIDTH = 52;
const DAY_S = 86_400;
/** Steps between ticks of time, in seconds. */
const STEPS_S = [
  1,
  2,
  5,
  10,
  15,
  30,
  60,
  120,
  300,
  600,
  900,
  1800,
  3600,
  7200,
  10_800,
  21_600,
  43_200,
  DAY_S,
  2 * DAY_S,
  5 * DAY_S,
  7 * DAY_S,
  14 * DAY_S,
  30 * DAY_S,
  90 * DAY_S,
  180 * DAY_S,
  365 * DAY_S,
];

function axis(theme: Theme): uPlot.Axis {
  return {
    stroke: theme.quiet,
    font: FONT,
    grid: { stroke: theme.line, width: 1 },
    ticks: { show: false },
    gap: 6,
  };
}

/** A time axis: with seconds if ticks are less than a minute apart, with the date if the axis is longer than a day. */
export function timeAxis(theme: Theme): uPlot.Axis {
  const values: uPlot.Axis["values"] = (_, splits, __, ___, step) => {
    if (step >= DAY_S) return splits.map(dayOf);
    if ((splits.at(-1) ?? 0) - (splits[0] ?? 0) > DAY_S) return splits.map(dateOf);
    return splits.map((second) =>
      new Date(second * 1000).toLocaleTimeString("en-GB", {
        hour: "2-digit",
        minute: "2-digit",
        ...(step < 60 && { second: "2-digit" }),
      }),
    );
  };
  return { ...axis(theme), grid: { show: false }, values, incrs: STEPS_S, space: roomOf, size: 30 };
}

/** The least distance between two ticks, in px: dates are wider than times. */
function roomOf(_: uPlot, __: number, from: number, to: number): number {
  return to - from > DAY_S ? 110 : 70;
}

export function numberAxis(theme: Theme, format: (value: number) => string): uPlot.Axis {
  return {
    ...axis(theme),
    size: Y_WIDTH,
    values: (_, splits) => splits.map((value) => (value == null ? "" : format(value))),
  };
}

/** A horizontal axis of numbers. */
export function valueAxis(theme: Theme, format: (value: number) => string, label: string): uPlot.Axis {
  const named = { label, labelSize: 20, labelFont: FONT, labelGap: 0, size: 30, space: 60 };
  return { ...numberAxis(theme, format), ...named };
}
