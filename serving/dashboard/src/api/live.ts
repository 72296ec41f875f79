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
  /** When the first snapshot came, in epoch seconds; null before. */
  begunAt: number | null;
  /** Why the warehouse does not answer; null where it does. */
  away: string | null;
  /** The server's time, in epoch seconds, up to which all is known; null before anything is. */
  knownTo: number | null;
  /** The second with which the cells begin. */
  since: number;
  cells: Cells;
  /** The newest, newest first. */
  messages: readonly Message[];
  alerts: ReadonlyMap<string, Alert>;
  /** By source, what is normal now. */
  normal: Readonly<Record<string, Normal>>;
  /** By source, what was normal minute by minute, oldest first. */
  normals: Readonly<Record<string, readonly Normal[]>>;
}

const SILENCE_MS = 12_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const NO_KEY = 1008;

export const liveStore = createStore<Live>({
  connection: "connecting",
  begunAt: null,
  away: null,
  knownTo: null,
  since: 0,
  cells: new Map(),
  messages: [],
  alerts: new Map(),
  normal: {},
  normals: {},
});

// Frames change this at once; the components are told of it at most once an animation frame.
const held = {
  ...liveStore.get(),
  cells: new Map<string, Map<number, Tally>>(),
  alerts: new Map<string, Alert>(),
};
let scheduled = false;

function tell(): void {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    liveStore.set({ ...held });
  });
}

function apply(frame: Frame): void {
  setServerClock(frame.at);
  if (frame.type === "snapshot") {
    held.cells = new Map();
    held.alerts = new Map();
    held.begunAt ??= frame.at;
  }
  held.away = frame.away;
  held.since = frame.since;
  if (frame.away === null) held.knownTo = frame.at;
  for (const [second, source, negative, neutral, positive, score] of frame.cells) {
    const seconds = held.cells.get(source) ?? new Map<number, Tally>();
    held.cells.set(source, seconds);
    seconds.set(second, { negative, neutral, positive, messages: negative + neutral + positive, score });
  }
  for (const [source, seconds] of held.cells) {
    for (const second of seconds.keys()) if (second < frame.since) seconds.delete(second);
    if (!seconds.size) held.cells.delete(source);
  }
  if (frame.alerts.length) {
    held.alerts = new Map(held.alerts);
    for (const alert of frame.alerts) held.alerts.set(alert.id, alert);
  }
  held.messages = frame.messages ?? held.messages;
  if (frame.normal) {
    held.normals = frame.normal;
    held.normal = Object.fromEntries(
      Object.entries(frame.normal).flatMap(([source, found]) => {
        const newest = found.at(-1);
        return newest ? [[source, newest]] : [];
      }),
    );
  }
}

function setConnection(connection: Live["connection"]): void {
  held.connection = connection;
  tell();
}

/** Connect, and again after each break, until the returned function is called. `onReturn` is called after a break. */
export function followLive(onReturn: () => void): () => void {
  let socket: WebSocket | null = null;
  let again: ReturnType<typeof setTimeout> | undefined;
  let silence: ReturnType<typeof setTimeout> | undefined;
  let tries = 0;
  let broken = false;

  function connect(): void {
    clearTimeout(again);
    const key = keyStore.get();
    const address = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/live`;
    const mine = new WebSocket(address, key ? ["groundswell", `bearer.${key}`] : []);
    socket = mine;
    listen();
    mine.onmessage = (event) => {
      if (socket !== mine) return;
      listen();
      apply(JSON.parse(event.data));
      tries = 0;
      setConnection("live");
      if (broken) onReturn();
      broken = false;
    };
    mine.onclose = (event) => {
      if (socket === mine) lose(event.code === NO_KEY ? event.reason : undefined);
    };
  }

  function listen(): void {
    clearTimeout(silence);
    silence = setTimeout(lose, SILENCE_MS);
  }

  function lose(refused?: string): void {
    drop();
    broken = true;
    if (refused !== undefined) {
      report({ keyWanted: refused });
      setConnection("stopped");
      return;
    }
    setConnection(held.begunAt !== null ? "reconnecting" : "connecting");
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries++);
    again = setTimeout(connect, wait * (0.5 + Math.random() / 2));
  }

  function drop(): void {
    clearTimeout(silence);
    const old = socket;
    socket = null; // so that its own close is not another loss
    old?.close();
  }

  connect();
  const unfollow = keyStore.subscribe(() => {
    drop();
    tries = 0;
    setConnection("connecting");
    connect();
  });
  return () => {
    unfollow();
    clearTimeout(again);
    drop();
  };
}
