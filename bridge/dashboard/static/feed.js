// The live feed: one connection for all that the page shows. It comes back by itself and goes on where it was.

const KINDS = ["start", "ready", "reset", "snapshot", "candles", "revision", "forming", "prices", "state", "gap", "caught_up", "dropped", "end"];
const RETRY_MS = 1_000;
/** Browsers give all tabs of a server six connections, so a page that nobody sees gives its own back. */
export const REST_AFTER_MS = 30_000;

/** The address of a feed. streams: with candles, `last` of each at first; watch: for last price and state. */
export function feedAddress(streams, watch, last, after = "") {
  const pairs = [
    ...streams.map((stream) => ["stream", stream]),
    ...watch.map((stream) => ["watch", stream]),
    ["last", last],
    ...(after ? [["after", after]] : []),
  ];
  return `/api/stream?${pairs.map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join("&")}`;
}

export class Feed {
  /**
   * onEvent(kind, data): what came. onLost(isLost): the connection went, or is back.
   * source: makes an EventSource of an address; timers: {setTimeout, clearTimeout}.
   */
  constructor(onEvent, onLost, source = (address) => new EventSource(address), timers = globalThis) {
    this.onEvent = onEvent;
    this.onLost = onLost;
    this.makeSource = source;
    this.timers = timers;
    this.wish = null;
    this.lastId = "";
    this.isLost = false;
    this.connection = null;
    this.retry = null;
  }

  /** Listen to these; what was listened to before ends. The same wish again changes nothing. */
  open(streams, watch, last) {
    const key = JSON.stringify([streams, watch, last]);
    if (this.wish?.key === key && (this.connection || this.retry !== null)) return;
    this.wish = { key, streams, watch, last };
    this.lastId = "";
    this.connect();
  }

  /** Give the connection back, and keep the place. */
  rest() {
    this.disconnect();
  }

  /** Go on after a rest. */
  wake() {
    if (this.wish && !this.connection && this.retry === null) this.connect();
  }

  close() {
    this.wish = null;
    this.disconnect();
  }

  connect() {
    this.disconnect();
    const { streams, watch, last } = this.wish;
    if (!streams.length && !watch.length) return;
    const connection = this.makeSource(feedAddress(streams, watch, last, this.lastId));
    this.connection = connection;
    for (const kind of KINDS) {
      connection.addEventListener(kind, (event) => {
        if (this.connection !== connection) return;
        if (event.lastEventId) this.lastId = event.lastEventId;
        if (kind === "start") this.tellLost(false);
        this.onEvent(kind, JSON.parse(event.data));
        // The server ends it now; that is no loss, the browser comes again at once.
      });
    }
    connection.addEventListener("error", () => {
      if (this.connection !== connection) return;
      this.tellLost(true);
      // An answer that is no feed ends an EventSource for good.
      if (connection.readyState === 2) {
        this.disconnect();
        this.retry = this.timers.setTimeout(() => {
          this.retry = null;
          if (this.wish) this.connect();
        }, RETRY_MS);
      }
    });
  }

  disconnect() {
    if (this.retry !== null) this.timers.clearTimeout(this.retry);
    this.retry = null;
    this.connection?.close();
    this.connection = null;
  }

  tellLost(isLost) {
    if (isLost === this.isLost) return;
    this.isLost = isLost;
    this.onLost(isLost);
  }
}
