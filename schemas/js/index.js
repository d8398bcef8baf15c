// The client of fluxcap for Node: candles in order, once each, with gaps, backfill, resume and health.

import { EventEmitter } from "node:events";
import * as zmq from "zeromq";

import { decode, encode } from "./codec.js";
import { StreamHealth } from "./health.js";
import { StreamReceiver } from "./receiver.js";

export { CodecError, decode, encode } from "./codec.js";
export { FEED_STATES } from "./health.js";
export { StreamReceiver } from "./receiver.js";

export const Flags = Object.freeze({ JOINED_LATE: 1, BLIND: 2, FILLED: 4, REVISED: 8 });

const TURN_MS = 100;
const POLL_MS = 1000; // asks a server of version 1 in place of its heartbeat
const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const REQUESTS = { status: "StreamStatusRequest", candles: "BackfillCandlesRequest", revisions: "RevisionsRequest" };

/** An error that the server answered; `code` as in the wire's document. */
export class WireError extends Error {
  name = "WireError";

  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

export class WireTimeout extends Error {
  name = "WireTimeout";
}

export function keyText({ source, symbol, interval }) {
  return `${source}.${symbol}.${interval}`;
}

function intervalMs(interval) {
  const match = /^([1-9][0-9]{0,5})([smhd])$/.exec(interval);
  if (!match) throw new TypeError(`${interval} is no interval; write a number and s, m, h or d, such as 1m.`);
  return Number(match[1]) * UNITS[match[2]];
}

function sameKey(one, other) {
  return keyText(one) === keyText(other);
}

// Both sockets to one server. One connection, one epoch: when either socket loses its server, both are opened anew.
class Connection extends EventEmitter {
  constructor(pub, rep, timeoutMs) {
    super();
    this.addresses = { pub, rep };
    this.timeoutMs = timeoutMs;
    this.topics = new Set();
    this.pending = new Map();
    this.numbers = 0;
    this.isConnected = false;
    this.isClosed = false;
  }

  open() {
    const { pub, rep } = this.addresses;
    const options = { linger: 0, reconnectInterval: 100, reconnectMaxInterval: 500, heartbeatInterval: 1000, heartbeatTimeout: 3000 };
    const dealer = new zmq.Dealer({ ...options, immediate: true });
    const sockets = [dealer];
    if (pub) {
      const subscriber = new zmq.Subscriber({ ...options, receiveHighWaterMark: 20_000 });
      for (const topic of this.topics) subscriber.subscribe(topic);
      sockets.push(subscriber);
      this.subscriber = subscriber;
    }
    this.dealer = dealer;
    this.sockets = sockets;
    const greeted = new Set();
    for (const socket of sockets) {
      socket.events.on("handshake", () => {
        greeted.add(socket);
        if (this.sockets === sockets && greeted.size === sockets.length && !this.isConnected) {
          this.isConnected = true;
          this.emit("connected");
        }
      });
      socket.events.on("disconnect", () => {
        if (this.sockets === sockets && greeted.has(socket)) this.reopen();
      });
      socket.connect(socket === dealer ? rep : pub);
    }
    this.readReplies(dealer);
    if (pub) this.readFeed(this.subscriber);
  }

  reopen() {
    this.closeSockets("connection lost; reconnecting");
    this.emit("disconnected", "connection lost; reconnecting");
    if (!this.isClosed) this.open();
  }

  closeSockets(reason) {
    const sockets = this.sockets ?? [];
    this.sockets = null;
    this.isConnected = false;
    for (const socket of sockets) socket.close();
    for (const { fail } of [...this.pending.values()]) fail(new WireTimeout(`No answer: ${reason}.`));
  }

  close() {
    this.isClosed = true;
    this.closeSockets("the client was closed");
  }

  async readFeed(subscriber) {
    try {
      for await (const [topic, payload] of subscriber) {
        if (this.room) await this.room();
        if (subscriber !== this.subscriber || this.isClosed) return;
        let envelope;
        try {
          envelope = decode(payload);
        } catch {
          this.emit("garbled");
          continue;
        }
        this.emit("message", topic.toString(), envelope);
      }
    } catch {
      // It was closed while it was read.
    }
  }

  async readReplies(dealer) {
    try {
      for await (const frames of dealer) {
        let envelope;
        try {
          envelope = decode(frames[frames.length - 1]);
        } catch {
          this.emit("garbled"); // whoever asked runs out of time
          continue;
        }
        const pending = this.pending.get(envelope.correlationId);
        if (!pending) continue;
        if (envelope.type === "ErrorResponse") pending.fail(new WireError(envelope.message.code, envelope.message.message));
        else pending.succeed(envelope);
      }
    } catch {
      // It was closed while it was read.
    }
  }

  request(type, message) {
    return new Promise((resolve, reject) => {
      const number = String((this.numbers += 1));
      const settle = (act) => (value) => {
        clearTimeout(timer);
        this.pending.delete(number);
        act(value);
      };
      const fail = settle(reject);
      const timer = setTimeout(() => fail(new WireTimeout("The server did not answer in time.")), this.timeoutMs);
      this.pending.set(number, { succeed: settle(resolve), fail });
      if (!this.sockets) fail(new WireTimeout("No server answers."));
      else this.dealer.send([Buffer.alloc(0), encode(type, message, number)]).catch(fail);
    });
  }

  subscribe(topics) {
    for (const topic of topics) {
      this.topics.add(topic);
      if (this.sockets) this.subscriber.subscribe(topic);
    }
  }

  unsubscribe(topics) {
    for (const topic of topics) {
      this.topics.delete(topic);
      if (this.sockets) this.subscriber.unsubscribe(topic);
    }
  }
}

/** Streams of candles from a fluxcap server. See README.md. */
export class LiveClient extends EventEmitter {
  constructor({
    pub = process.env.FLUX_LIVE_PUB ?? "tcp://127.0.0.1:5556",
    rep = process.env.FLUX_CHUNK_REP ?? "tcp://127.0.0.1:5557",
    streams = [],
    cursors = {},
    startFrom = "resume",
    forming = true,
    ticks = false,
    pageLimit = 10_000,
    requestTimeoutMs = 2000,
    queueCandles = 200_000,
  } = {}) {
    super();
    this.options = { startFrom, pageLimit, queueCandles, cursors };
    this.kinds = ["candles", "status", "revisions", ...(forming ? ["forming"] : []), ...(ticks ? ["ticks"] : [])];
    this.streams = new Map();
    this.byTopic = new Map();
    this.queue = [];
    this.waiting = 0; // candles in the queue
    this.isIterated = false;
    this.counters = { candles: 0, revisions: 0, requests: 0, failedRequests: 0, garbled: 0 };
    const connection = (this.connection = new Connection(pub, rep, requestTimeoutMs));
    connection.room = () => this.room();
    connection.on("connected", () => this.each((stream, now) => this.connected(stream, now)));
    connection.on("disconnected", (reason) => this.each((stream, now) => this.disconnected(stream, reason, now)));
    connection.on("message", (topic, envelope) => this.published(topic, envelope));
    connection.on("garbled", () => (this.counters.garbled += 1));
    for (const key of streams) this.subscribe(key);
    connection.open();
    this.timer = setInterval(() => this.turn(), TURN_MS);
  }

  /** Subscribe to one more stream. `cursor`: that of the last event that was dealt with. */
  subscribe(key, { startFrom = this.options.startFrom, cursor = this.options.cursors[keyText(key)] } = {}) {
    const name = keyText(key);
    if (this.streams.has(name)) return;
    const now = performance.now();
    const isResumed = startFrom === "resume" && cursor;
    const stream = {
      key,
      receiver: new StreamReceiver({ cursor: isResumed ? cursor : null, start: startFrom, pageLimit: this.options.pageLimit }),
      health: new StreamHealth(now, intervalMs(key.interval) * 1.5 + 2000),
      cursor: isResumed ? cursor : null,
      isCaughtUp: false,
      pollMs: null,
    };
    this.streams.set(name, stream);
    const topics = this.kinds.map((kind) => `${kind}.${name}`);
    topics.forEach((topic, index) => this.byTopic.set(topic, { kind: this.kinds[index], stream }));
    this.connection.subscribe(topics);
    if (this.connection.isConnected) this.connected(stream, now);
    this.tellHealth(stream, now);
  }

  /** Leave a stream. */
  unsubscribe(key) {
    const name = keyText(key);
    if (!this.streams.delete(name)) return;
    const topics = this.kinds.map((kind) => `${kind}.${name}`);
    for (const topic of topics) this.byTopic.delete(topic);
    this.connection.unsubscribe(topics);
  }

  /** The health of a stream as of now; undefined when it is not subscribed to. */
  health(key) {
    return this.streams.get(keyText(key))?.health.now(performance.now());
  }

  /** Behind the last event that was told of a stream; null before the first. Each event carries its own. */
  cursor(key) {
    return this.streams.get(keyText(key))?.cursor ?? null;
  }

  /** End. Events that wait can still be taken. */
  close() {
    clearInterval(this.timer);
    this.connection.close();
    this.isClosed = true;
    this.wake?.();
    this.drained?.();
  }

  /** Every event as it comes, until the client is closed. */
  async *events() {
    this.isIterated = true;
    for (;;) {
      while (this.queue.length) {
        const event = this.queue.shift();
        this.waiting -= event.candles?.length ?? 0;
        if (this.waiting < this.options.queueCandles) this.drained?.();
        yield event;
      }
      if (this.isClosed) return;
      await new Promise((resolve) => (this.wake = resolve));
    }
  }

  // Reading stops while too many candles wait; what is lost meanwhile is fetched afterwards.
  room() {
    if (this.waiting < this.options.queueCandles || this.isClosed) return undefined;
    return new Promise((resolve) => (this.drained = resolve));
  }

  each(act) {
    const now = performance.now();
    for (const stream of this.streams.values()) act(stream, now);
  }

  connected(stream, now) {
    stream.isCaughtUp = false;
    stream.pollMs = null;
    stream.health.onConnected(now);
    this.carryOut(stream, stream.receiver.onConnected(now));
    this.tellHealth(stream, now);
  }

  disconnected(stream, reason, now) {
    stream.health.onDisconnected(reason);
    this.carryOut(stream, stream.receiver.onDisconnected(now));
    this.tellHealth(stream, now);
  }

  published(topic, { type, message }) {
    const { kind, stream } = this.byTopic.get(topic) ?? {}; // prefixes match too
    if (!stream) return;
    if (!message.key || !sameKey(message.key, stream.key)) {
      this.counters.garbled += 1;
      return;
    }
    const now = performance.now();
    const { receiver, health } = stream;
    switch (`${kind} ${type}`) {
      case "candles CandleBatch":
        health.onUpdate(now);
        this.carryOut(stream, receiver.onBatch(message, now));
        break;
      case "status StreamStatusResponse":
        stream.pollMs = null;
        health.onHeartbeat(message, now);
        this.carryOut(stream, receiver.onHeartbeat(message, now));
        break;
      case "revisions CandleRevision":
        this.carryOut(stream, receiver.onRevision(message, now));
        break;
      case "forming CandleBatch":
        health.onUpdate(now);
        if (message.candles.length) this.tell(stream, { type: "forming", candle: message.candles.at(-1) });
        break;
      case "ticks TickBatch":
        health.onUpdate(now);
        this.tell(stream, { type: "ticks", startSequence: message.startSequence, tsMs: message.tsMs, price: message.price });
        break;
      default:
        this.counters.garbled += 1;
    }
    this.tellHealth(stream, now);
  }

  carryOut(stream, actions) {
    for (const { do: what, ...action } of actions) {
      if (what === "request") {
        this.ask(stream, action);
        continue;
      }
      if (what === "candles") this.counters.candles += action.candles.length;
      if (what === "revision") this.counters.revisions += action.candles.length;
      if (what === "restart") stream.isCaughtUp = false;
      this.tell(stream, { type: what === "restart" ? "storeReplaced" : what, ...action });
    }
    if (stream.receiver.isLive && !stream.isCaughtUp) {
      stream.isCaughtUp = true;
      this.tell(stream, { type: "caughtUp", sequence: stream.receiver.cursor.latestSequence });
    }
  }

  async ask(stream, { kind, after, limit }) {
    const epoch = this.connection.sockets;
    const { key, receiver, health } = stream;
    const isVersion1 = kind === "status" && stream.pollMs !== null;
    const body = { key, limit };
    if (kind === "candles") Object.assign(body, { hasFromSequence: true, fromSequenceExclusive: after });
    if (kind === "revisions") Object.assign(body, { hasFromRevision: true, fromRevisionExclusive: after });
    this.counters.requests += 1;
    let reply = null;
    let error = null;
    try {
      reply = await this.connection.request(isVersion1 ? "GetCursorRequest" : REQUESTS[kind], body);
    } catch (failure) {
      error = failure;
      this.counters.failedRequests += 1;
    }
    const now = performance.now();
    if (this.isClosed || epoch !== this.connection.sockets || this.streams.get(keyText(key)) !== stream) return;
    if (error?.code === 404) health.onRefused("the server has no such stream");
    if (kind === "status" && (error?.code === 400 || error?.code === 426)) stream.pollMs = now + POLL_MS;
    const message = reply?.message;
    if (!message || !sameKey(message.key, key)) this.carryOut(stream, receiver.onFailed(now));
    else if (reply.type === "BackfillCandlesResponse") this.carryOut(stream, receiver.onPage(message, now));
    else if (reply.type === "RevisionsResponse") this.carryOut(stream, receiver.onRevisions(message, now));
    else {
      const status = statusOf(reply);
      health.onHeartbeat(status, now);
      this.carryOut(stream, receiver.onStatus(status, now));
    }
    this.tellHealth(stream, now);
  }

  async poll(stream, now) {
    const epoch = this.connection.sockets;
    stream.pollMs = now + POLL_MS;
    const reply = await this.connection.request("GetCursorRequest", { key: stream.key }).catch(() => null);
    if (!reply || epoch !== this.connection.sockets || this.isClosed) return;
    const later = performance.now();
    stream.health.onHeartbeat(statusOf(reply), later);
    this.carryOut(stream, stream.receiver.onHeartbeat(statusOf(reply), later));
  }

  turn() {
    this.each((stream, now) => {
      const wakeMs = stream.receiver.wakeMs;
      if (wakeMs !== null && wakeMs <= now) this.carryOut(stream, stream.receiver.onTime(now));
      if (stream.pollMs !== null && stream.pollMs <= now) this.poll(stream, now);
      this.tellHealth(stream, now);
    });
  }

  tellHealth(stream, now) {
    const health = stream.health.changed(now);
    if (health) this.tell(stream, { type: "health", health });
  }

  tell(stream, given) {
    if (given.cursor) stream.cursor = given.cursor;
    const event = { key: stream.key, ...given };
    this.emit(event.type, event);
    if (!this.isIterated && this.eventNames().length) return; // whoever listens does not iterate
    const last = this.queue.at(-1);
    if (last?.type === "forming" && event.type === "forming" && last.key === event.key) this.queue.pop();
    this.queue.push(event);
    this.waiting += event.candles?.length ?? 0;
    this.wake?.();
  }
}

function statusOf({ type, message }) {
  if (type !== "GetCursorResponse") return message;
  const { latestSequence = 0, latestTsMs = 0 } = message.cursor ?? {};
  const unknown = { serverTimeMs: 0, firstSequence: 0, storeId: "", latestRevision: 0, feedState: 0, lastTickTsMs: 0 };
  return { key: message.key, latestSequence, latestTsMs, platformOffsetMs: 0, ...unknown };
}

// One-shot questions: ask, wait, return.
async function asking({ rep = process.env.FLUX_CHUNK_REP ?? "tcp://127.0.0.1:5557", timeoutMs = 2000 } = {}, act) {
  const connection = new Connection(null, rep, timeoutMs);
  connection.open();
  try {
    return await act(connection);
  } finally {
    connection.close();
  }
}

/** The status of every stream that the server has. */
export function listStreams(options) {
  return asking(options, async (server) => (await server.request("ListStreamsRequest", {})).message.streams);
}

/** A stream's watermark, feed state and store. */
export function fetchStatus(key, options) {
  return asking(options, async (server) => (await server.request("StreamStatusRequest", { key })).message);
}

/** The candles of a stream after a sequence, up to its newest at the time of the call: `{ sequences, candles }`. */
export function backfill(key, { fromSequenceExclusive = 0, pageLimit = 10_000, ...options } = {}) {
  return asking(options, async (server) => {
    const status = (await server.request("StreamStatusRequest", { key })).message;
    const [sequences, candles] = [[], []];
    let have = Math.max(fromSequenceExclusive, status.firstSequence - 1);
    while (have < status.latestSequence) {
      const limit = Math.min(pageLimit, status.latestSequence - have);
      const body = { key, hasFromSequence: true, fromSequenceExclusive: have, limit };
      const page = (await server.request("BackfillCandlesRequest", body)).message;
      if (!page.candles.length || page.startSequence <= have) throw new WireTimeout("The server sent nothing, though it has more.");
      page.candles.forEach((candle, index) => {
        sequences.push(page.startSequence + index);
        candles.push(candle);
      });
      have = sequences[sequences.length - 1];
    }
    return { sequences, candles };
  });
}
