import type uPlot from "uplot";

const moved = (type: string) => type !== "mousedown" && type !== "mouseup" && type !== "dblclick";

/** Charts over time point at the same time together; a zoom is of the chart that was dragged over. */
export const timeCursor: uPlot.Cursor = {
  y: false,
  sync: { key: "time", setSeries: false, filters: { pub: moved, sub: moved } },
};
