// The watchlist: what the daemon says of its assets and the feed of its streams, put together. Pure.

import { intervalMs } from "./format.js";

/** A stream's name in three. */
export function partsOf(stream) {
  const [source, ...rest] = stream.split("/");
  const interval = rest.pop();
  return { source, symbol: rest.join("/"), interval };
}

export class Assets {
  constructor() {
    this.source = "";
    this.base = "1m";
    this.streams = new Map();
    this.listed = new Map();
    this.ticking = new Map();
    this.prices = new Map();
    this.states = new Map();
    this.sparks = new Map();
  }

  /** status: that of the daemon, or null. */
  setStatus(status) {
    if (!status) return;
    this.source = status.source;
    this.base = status.interval;
    this.ticking = new Map(status.assets.map((asset) => [asset.symbol, asset]));
  }

  setListed(assets) {
    this.listed = new Map(assets.map((asset) => [asset.symbol, asset]));
  }

  /** rows of /api/streams. */
  setStreams(rows) {
    this.streams = new Map(rows.map((row) => [row.stream, row]));
    const sources = [...new Set(rows.map((row) => row.source))];
    if (!this.source && sources.length) {
      this.source = sources.sort()[0];
      const own = rows.filter((row) => row.source === this.source).map((row) => row.interval);
      this.base = own.sort((a, b) => intervalMs(a) - intervalMs(b))[0];
    }
  }

  setPrices(prices) {
    for (const [stream, [price, tsMs]] of Object.entries(prices)) this.prices.set(stream, { price, tsMs });
  }

  setState(event, nowMs) {
    this.states.set(event.stream, { ...event, atMs: nowMs });
  }

  /** The name of an asset in the address: its symbol; of another source than the daemon's, with the source. */
  idOf(source, symbol) {
    return source === this.source ? symbol : `${source}:${symbol}`;
  }

  /** The source and symbol that an asset's name means. */
  meant(id) {
    const at = id.indexOf(":");
    return at < 0 ? { source: this.source, symbol: id } : { source: id.slice(0, at), symbol: id.slice(at + 1) };
  }

  streamOf(id, interval) {
    const { source, symbol } = this.meant(id);
    return `${source}/${symbol}/${interval}`;
  }

  /** Timeframes that there are streams of, the shortest first; the live one always. */
  timeframes(id) {
    const { source, symbol } = this.meant(id);
    const found = new Set(source === this.source ? [this.base] : []);
    for (const row of this.streams.values()) {
      if (row.source === source && row.symbol === symbol) found.add(row.interval);
    }
    return [...found].sort((a, b) => intervalMs(a) - intervalMs(b));
  }

  isKnown(id) {
    const { source, symbol } = this.meant(id);
    if (source === this.source && (this.listed.has(symbol) || this.ticking.has(symbol))) return true;
    return [...this.streams.values()].some((row) => row.source === source && row.symbol === symbol);
  }

  /** "EUR/USD OTC"; the symbol itself where the platform has not named it. */
  nameOf(id) {
    const { source, symbol } = this.meant(id);
    const named = source === this.source ? this.listed.get(symbol)?.name : "";
    if (!named) return id;
    return symbol.toLowerCase().endsWith("_otc") && !named.toUpperCase().includes("OTC") ? `${named} OTC` : named;
  }

  /** The newest price, and since when; null where none is known. */
  priceOf(id) {
    const known = this.prices.get(this.streamOf(id, this.base));
    if (known) return known.price;
    const { source, symbol } = this.meant(id);
    const price = source === this.source ? this.ticking.get(symbol)?.last_price : null;
    return price || null;
  }

  /** The state of an asset's feed: that of its stream's health, else what the daemon says; "" where nobody knows. */
  stateOf(id) {
    const { source, symbol } = this.meant(id);
    const state = this.states.get(this.streamOf(id, this.base));
    if (state) return { state: state.state, reason: state.reason };
    const asset = source === this.source ? this.ticking.get(symbol) : null;
    if (!asset) return { state: "", reason: "" };
    const isLive = asset.feed === "live";
    return { state: isLive ? "receiving" : "stalled", reason: isLive ? "" : asset.blind_reason || asset.feed };
  }

  /** The rows of the list: favourites first, then what ticks, then by name. search: letters of a name or symbol. */
  rows(search, favourites) {
    const ids = new Set([...this.ticking.keys()].map((symbol) => this.idOf(this.source, symbol)));
    for (const row of this.streams.values()) ids.add(this.idOf(row.source, row.symbol));
    const wanted = plain(search);
    const starred = new Set(favourites);
    for (const id of starred) if (this.isKnown(id)) ids.add(id);
    // What does not tick is found by its name, and is not in the way otherwise.
    if (wanted) for (const symbol of this.listed.keys()) ids.add(this.idOf(this.source, symbol));
    return [...ids]
      .filter((id) => !wanted || plain(id).includes(wanted) || plain(this.nameOf(id)).includes(wanted))
      .map((id) => ({
        id,
        name: this.nameOf(id),
        price: this.priceOf(id),
        payout: this.payoutOf(id),
        isFavourite: starred.has(id),
        ticks: this.priceOf(id) !== null,
        ...this.stateOf(id),
      }))
      .sort((a, b) => b.isFavourite - a.isFavourite || b.ticks - a.ticks || a.name.localeCompare(b.name));
  }

  payoutOf(id) {
    const { source, symbol } = this.meant(id);
    const asset = source === this.source ? this.listed.get(symbol) : null;
    return asset?.active ? asset.payout : null;
  }
}

function plain(text) {
  return text.toUpperCase().replace(/[^A-Z0-9]/g, "");
}
