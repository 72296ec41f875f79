import type uPlot from "uplot";

const moved = (type: string) => type !== "mousedown" && type !== "mouseup" && type !== "dblclick";

/** All charts over time show their cursors at the same time; a zoom is handled by the chart that was dragged over. */
export const timeCursor: uPlot.Cursor = {
  y: false,
  sync: { key: "time", setSeries: false, filters: { pub: moved, sub: moved } },
};
