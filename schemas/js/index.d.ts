/** Candles of a trading page in order, once each, from a fluxcap server. */

import { EventEmitter } from "node:events";

export interface StreamKey {
  source: string;
  symbol: string;
  /** A number and s, m, h or d, such as 1m. */
  interval: string;
}

export interface Candle {
  /** Start of the bucket, UTC epoch milliseconds. */
  tsMs: number;
  open: number;
  high: number;
  low: number;
  close: number;
  /** Number of ticks. */
  volume: number;
  tickCount: number;
  /** 0: complete, or the sum of `Flags`. */
  flags: number;
}

export const Flags: Readonly<{ JOINED_LATE: 1; BLIND: 2; FILLED: 4; REVISED: 8 }>;

/** Up to where a stream was told; keep that of the last event you dealt with, and come again with it. */
export interface Cursor {
  storeId: string;
  latestSequence: number;
  latestTsMs: number;
  latestRevision: number;
}

export type HealthState = "disconnected" | "connecting" | "subscribed" | "receiving" | "stalled";

export interface Health {
  state: HealthState;
  /** Why, in plain words; empty while receiving. */
  reason: string;
  /** For a footer: `Live, 0.3s ago`. */
  label: string;
  ageMs: number | null;
  feedState: string;
}

export interface StreamStatus {
  key: StreamKey;
  latestSequence: number;
  latestTsMs: number;
  serverTimeMs: number;
  firstSequence: number;
  storeId: string;
  latestRevision: number;
  feedState: number;
  lastTickTsMs: number;
  platformOffsetMs: number;
}

export interface CandlesEvent {
  type: "candles";
  key: StreamKey;
  /** Of the first candle; the next ones follow by 1. */
  startSequence: number;
  candles: Candle[];
  isBackfill: boolean;
  cursor: Cursor;
}

export interface RevisionEvent {
  type: "revision";
  key: StreamKey;
  startRevision: number;
  /** The sequence that each candle replaces; 0: a minute that the stream never had. */
  sequences: number[];
  candles: Candle[];
  cursor: Cursor;
}

export interface FormingEvent {
  type: "forming";
  key: StreamKey;
  candle: Candle;
}

export interface TicksEvent {
  type: "ticks";
  key: StreamKey;
  startSequence: number;
  tsMs: number[];
  price: number[];
}

export interface HealthEvent {
  type: "health";
  key: StreamKey;
  health: Health;
}

export interface CaughtUpEvent {
  type: "caughtUp";
  key: StreamKey;
  sequence: number;
}

/** Sequences that the server cannot give any more. */
export interface GapEvent {
  type: "gap";
  key: StreamKey;
  fromSequence: number;
  toSequence: number;
  reason: string;
  cursor: Cursor;
}

/** The server's store is another one: drop all candles of the stream. */
export interface StoreReplacedEvent {
  type: "storeReplaced";
  key: StreamKey;
  storeId: string;
  reason: string;
  cursor: Cursor;
}

export type Event =
  | CandlesEvent
  | RevisionEvent
  | FormingEvent
  | TicksEvent
  | HealthEvent
  | CaughtUpEvent
  | GapEvent
  | StoreReplacedEvent;

/** `resume`: where the cursor stands, or from the oldest candle. n > 0: the first sequence wanted; n < 0: so many before the newest. */
export type StartFrom = "resume" | "earliest" | "latest" | number;

export interface LiveClientOptions {
  /** Default: FLUX_LIVE_PUB, else tcp://127.0.0.1:5556. */
  pub?: string;
  /** Default: FLUX_CHUNK_REP, else tcp://127.0.0.1:5557. */
  rep?: string;
  streams?: StreamKey[];
  /** By `keyText(key)`. */
  cursors?: Record<string, Cursor>;
  startFrom?: StartFrom;
  forming?: boolean;
  ticks?: boolean;
  pageLimit?: number;
  requestTimeoutMs?: number;
  /** Candles that wait to be taken before reading stops; none is lost. */
  queueCandles?: number;
}

/** Starts at once. `events()` gives everything; or `on(type, listener)` for one kind. Use one way or the other. */
export class LiveClient extends EventEmitter {
  constructor(options?: LiveClientOptions);
  subscribe(key: StreamKey, options?: { startFrom?: StartFrom; cursor?: Cursor }): void;
  unsubscribe(key: StreamKey): void;
  health(key: StreamKey): Health | undefined;
  cursor(key: StreamKey): Cursor | null;
  events(): AsyncGenerator<Event, void, undefined>;
  on<T extends Event["type"]>(type: T, listener: (event: Extract<Event, { type: T }>) => void): this;
  readonly counters: Record<string, number>;
  close(): void;
}

export interface AskOptions {
  rep?: string;
  timeoutMs?: number;
}

export function keyText(key: StreamKey): string;
export function listStreams(options?: AskOptions): Promise<StreamStatus[]>;
export function fetchStatus(key: StreamKey, options?: AskOptions): Promise<StreamStatus>;
export function backfill(
  key: StreamKey,
  options?: AskOptions & { fromSequenceExclusive?: number; pageLimit?: number },
): Promise<{ sequences: number[]; candles: Candle[] }>;

export interface Envelope {
  type: string;
  message: Record<string, unknown>;
  correlationId: string;
  schemaVersion: number;
}

export const FEED_STATES: string[];
export function decode(bytes: Uint8Array): Envelope;
export function encode(type: string, message: object, correlationId?: string): Uint8Array;
/** One stream without sockets, timers or clocks; for who brings his own transport. */
export class StreamReceiver {
  constructor(options?: { cursor?: Cursor | null; start?: StartFrom; pageLimit?: number; random?: () => number });
  readonly cursor: Cursor;
}
export class CodecError extends Error {}
export class WireError extends Error {
  readonly code: number;
}
export class WireTimeout extends Error {}
