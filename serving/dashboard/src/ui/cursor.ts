import type uPlot from "uplot";

/** Charts over time point at the same time together. */
export const timeCursor: uPlot.Cursor = { y: false, sync: { key: "time", setSeries: false } };
