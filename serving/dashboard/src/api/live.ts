import { setServerClock } from "@/lib/clock";
import { createStore } from "@/lib/store";
import type { Cells, Tally } from "@/lib/windows";
import type { Schemas } from "./client";
import { report } from "./health";
import { keyStore } from "./key";

type Frame = Schemas["LiveFrame"];
export type Alert = Schemas["AlertShown"];
export type Message = Schemas["Message"];
export type Normal = Schemas["Normal"];

export interface Live {
  connection: "connecting" | "live" | "reconnecting" | "stopped";
  /** When the first snapshot arrived, in epoch seconds; null before. */
  begunAt: number | null;
  /** Why the warehouse does not respond; null if it does. The frames call it `away`. */
  warehouseError: string | null;
  /** The server's time, in epoch seconds, up to which the data is complete; null before the first data. */
  knownTo: number | null;
  /** The first second of the cells. */
  since: number;
  cells: Cells;
  /** The newest messages, the newest first. */
  messages: readonly Message[];
  alerts: ReadonlyMap<string, Alert>;
  /** By source, the current normal range. */
  normal: Readonly<Record<string, Normal>>;
  /** By source, the normal range of each minute, the oldest first. */
  normals: Readonly<Record<string, readonly Normal[]>>;
}

const SILENCE_MS = 12_000;
const FIRST_WAIT_MS = 500;
const MAX_WAIT_MS = 10_000;
const KEY_REJECTED = 1008;

export const liveStore = createStore<Live>({
  connection: "connecting",
  begunAt: null,
  warehouseError: null,
  knownTo: null,
  since: 0,
  cells: new Map(),
  messages: [],
  alerts: new Map(),
  normal: {},
  normals: {},
});

// Frames change this at once; components are notified at most once per animation frame.
const state = {
  ...liveStore.get(),
  cells: new Map<string, Map<number, Tally>>(),
  alerts: new Map<string, Alert>(),
};
let scheduled = false;

function publish(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    liveStore.set({ ...state });
  });
}

function apply(frame: Frame): void {
  setServerClock(frame.at);
  if (frame.type === "snapshot") {
    state.cells = new Map();
    state.alerts = new Map();
    state.begunAt ??= frame.at;
  }
  state.warehouseError = frame.away;
  state.since = frame.since;
  if (frame.away === null) state.knownTo = frame.at;
  for (const [second, source, negative, neutral, positive, score] of frame.cells) {
    const seconds = state.cells.get(source) ?? new Map<number, Tally>();
    state.cells.set(source, seconds);
    seconds.set(second, { negative, neutral, positive, messages: negative + neutral + positive, score });
  }
  for (const [source, seconds] of state.cells) {
    for (const second of seconds.keys()) if (second < frame.since) seconds.delete(second);
    if (!seconds.size) state.cells.delete(source);
  }
  if (frame.alerts.length) {
    state.alerts = new Map(state.alerts);
    for (const alert of frame.alerts) state.alerts.set(alert.id, alert);
  }
  state.messages = frame.messages ?? state.messages;
  if (frame.normal) {
    state.normals = frame.normal;
    state.normal = Object.fromEntries(
      Object.entries(frame.normal).flatMap(([source, ranges]) => {
        const newest = ranges.at(-1);
        return newest ? [[source, newest]] : [];
      }),
    );
  }
}

function setConnection(connection: Live["connection"]): void {
  state.connection = connection;
  publish();
}

/**
 * Connect, and reconnect whenever the connection breaks, until the returned function is called. `onReconnect` is called
 * with the first frame after a break.
 */
export function followLive(onReconnect: () => void): () => void {
  let socket: WebSocket | null = null;
  let retry: ReturnType<typeof setTimeout> | undefined;
  let timeout: ReturnType<typeof setTimeout> | undefined;
  let tries = 0;
  let broken = false;

  function connect(): void {
    clearTimeout(retry);
    const key = keyStore.get();
    const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/live`;
    const mine = new WebSocket(address, key ? ["groundswell", `bearer.${key}`] : []);
    socket = mine;
    restartTimeout();
    mine.onmessage = (event) => {
      if (socket !== mine) return;
      restartTimeout();
      apply(JSON.parse(event.data));
      tries = 0;
      setConnection("live");
      if (broken) onReconnect();
      broken = false;
    };
    mine.onclose = (event) => {
      if (socket === mine) handleLoss(event.code === KEY_REJECTED ? event.reason : undefined);
    };
  }

  function restartTimeout(): void {
    clearTimeout(timeout);
    timeout = setTimeout(handleLoss, SILENCE_MS);
  }

  function handleLoss(rejection?: string): void {
    disconnect();
    broken = true;
    if (rejection !== undefined) {
      report({ keyError: rejection });
      setConnection("stopped");
      return;
    }
    setConnection(state.begunAt !== null ? "reconnecting" : "connecting");
    const wait = Math.min(MAX_WAIT_MS, FIRST_WAIT_MS * 2 ** tries++);
    retry = setTimeout(connect, wait * (0.5 + Math.random() / 2));
  }

  function disconnect(): void {
    clearTimeout(timeout);
    const old = socket;
    socket = null; // so that its close event is not handled as another loss
    old?.close();
  }

  connect();
  const unfollow = keyStore.subscribe(() => {
    disconnect();
    tries = 0;
    setConnection("connecting");
    connect();
  });
  return () => {
    unfollow();
    clearTimeout(retry);
    disconnect();
  };
}
