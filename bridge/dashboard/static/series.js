// The candles of one stream as the live feed tells them, and what of them has to be drawn again. Pure.
// A candle is a list: [ts_ms, open, high, low, close, volume, tick_count, flags].

export class Series {
  /** stepMs: the stream's interval. */
  constructor(stepMs) {
    this.stepMs = stepMs;
    this.storeId = "";
    this.rows = [];
    this.forming = null;
    this.sequence = 0;
    this.hasOlder = true;
  }

  get firstMs() {
    return this.rows.length ? this.rows[0][0] : 0;
  }

  get lastMs() {
    return this.rows.length ? this.rows[this.rows.length - 1][0] : 0;
  }

  /** The newest candle, sealed or not. */
  get last() {
    return this.forming ?? this.rows[this.rows.length - 1] ?? null;
  }

  /** Sealed candles and the one under way. */
  all() {
    return this.forming ? [...this.rows, this.forming] : this.rows;
  }

  /** Index of the candle of a time, of the one before it where there is none; -1 before the first. */
  placeOf(tsMs) {
    let low = 0;
    let high = this.rows.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.rows[middle][0] <= tsMs) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The candle of exactly that time; null where there is none. */
  at(tsMs) {
    if (this.forming?.[0] === tsMs) return this.forming;
    const row = this.rows[this.placeOf(tsMs)];
    return row && row[0] === tsMs ? row : null;
  }

  /** Drop everything: the stream has another store. */
  reset() {
    this.rows = [];
    this.forming = null;
    this.sequence = 0;
    this.hasOlder = true;
    return this;
  }

  /** The newest candles, in place of those from their first one on; what is known before them stays if it adjoins. */
  snapshot(rows, sequences, storeId, asked) {
    const isKnown = storeId === this.storeId && this.rows.length && rows.length && rows[0][0] <= this.lastMs;
    const older = isKnown ? this.rows.slice(0, this.placeOf(rows[0][0] - 1) + 1) : [];
    this.rows = older.concat(rows);
    if (!older.length) this.hasOlder = rows.length >= asked;
    this.storeId = storeId;
    this.sequence = sequences.reduce((most, one) => Math.max(most, one), 0);
    if (this.forming && this.forming[0] <= this.lastMs) this.forming = null;
  }

  /** The next candles. Returns the index from which on something is new. */
  append(sequence, rows) {
    this.sequence = Math.max(this.sequence, sequence + rows.length - 1);
    return this.put(rows);
  }

  /** Better candles; those older than all that is here do not count. Returns the index from which on something is new. */
  revise(rows) {
    return this.put(this.rows.length ? rows.filter((row) => row[0] >= this.firstMs) : []);
  }

  /** Candles before the first, oldest first. hasMore: there are older ones yet. */
  prepend(rows, hasMore) {
    const first = this.firstMs;
    this.rows = rows.filter((row) => !first || row[0] < first).concat(this.rows);
    this.hasOlder = hasMore;
  }

  /** The candle under way; an older one than the newest sealed does not count. Returns whether it counted. */
  setForming(row) {
    if (row && row[0] <= this.lastMs) return false;
    this.forming = row;
    return true;
  }

  put(rows) {
    let from = this.rows.length;
    for (const row of rows) {
      const place = this.placeOf(row[0]);
      if (place >= 0 && this.rows[place][0] === row[0]) {
        this.rows[place] = row;
        from = Math.min(from, place);
      } else {
        this.rows.splice(place + 1, 0, row);
        from = Math.min(from, place + 1);
      }
    }
    if (this.forming && this.forming[0] <= this.lastMs) this.forming = null;
    return from;
  }
}

/** Blind times within [fromMs, toMs), joined where they touch: [{from, to, reason}]. An end of 0 means until now. */
export function blindAreas(gaps, fromMs, toMs) {
  const areas = [];
  const cut = gaps
    .map((gap) => ({ from: Math.max(gap.from_ms, fromMs), to: Math.min(gap.to_ms || toMs, toMs), reason: gap.reason }))
    .filter((gap) => gap.to > gap.from)
    .sort((a, b) => a.from - b.from || a.to - b.to);
  for (const gap of cut) {
    const last = areas[areas.length - 1];
    if (!last || gap.from > last.to) {
      areas.push(gap);
      continue;
    }
    last.to = Math.max(last.to, gap.to);
    if (gap.reason && !last.reason.split(", ").includes(gap.reason)) {
      last.reason = last.reason ? `${last.reason}, ${gap.reason}` : gap.reason;
    }
  }
  return areas;
}

/** The places on the time axis: each candle, and in blind times the minutes without one, `mostEmpty` of each at most. */
export function axisTimes(rows, areas, stepMs, mostEmpty = 60) {
  const times = rows.map((row) => row[0]);
  if (!times.length || !areas.length) return times;
  const known = new Set(times);
  const empty = [];
  for (const area of areas) {
    const begin = Math.max(Math.floor(area.from / stepMs) * stepMs, times[0]);
    for (let at = begin, count = 0; at < area.to && count < mostEmpty; at += stepMs) {
      if (!known.has(at) && at < times[times.length - 1]) {
        empty.push(at);
        known.add(at);
        count += 1;
      }
    }
  }
  return empty.length ? times.concat(empty).sort((a, b) => a - b) : times;
}

/** A CSV of candles, times in ISO 8601. */
export function csvText(rows) {
  const lines = rows.map(([ts, ...values]) => [new Date(ts).toISOString(), ...values].join(","));
  return `${["timestamp,open,high,low,close,volume,tick_count,flags", ...lines].join("\n")}\n`;
}
