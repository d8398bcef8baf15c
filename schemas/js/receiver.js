// One stream: from a lossy live feed and requests to every candle in order, once. Pure: messages and time (ms, monotonic)
// go in, actions come out. The same rules as those of the Python client.

const HOLE_CONFIRMATIONS = 5; // answers that begin later before what lies between counts as lost
const ROLLBACK_CONFIRMATIONS = 5; // status answers that lie before our position before the store counts as older
const MOST_EMPTY = 4; // vain requests before sequences beyond the watermark are taken for a forgery
const BASE_MS = 50;
const CAP_MS = 1000;

// Numbered rows arrive in any order, more than once or not at all, and leave in order, once each.
class ReorderBuffer {
  constructor(position, limit = 50_000) {
    this.position = position; // of the last row that left
    this.target = position; // highest number known to exist
    this.limit = limit;
    this.chunks = []; // by their start
    this.rows = 0;
  }

  // "kept", "duplicate", or "evicted" where there was no room.
  offer(start, rows, isBackfill) {
    const end = start + rows.length - 1;
    if (!rows.length || end <= this.position) return "duplicate";
    this.target = Math.max(this.target, end);
    let place = this.chunks.findIndex((chunk) => chunk.start >= start);
    if (place < 0) place = this.chunks.length;
    if (place && endOf(this.chunks[place - 1]) >= end) return "duplicate";
    if (this.chunks[place]?.start === start) {
      if (endOf(this.chunks[place]) >= end) return "duplicate";
      this.drop(place);
    }
    const chunk = { start, rows, isBackfill };
    this.keep(place, chunk);
    while (this.rows > this.limit && this.chunks.length > 1) {
      if (this.drop(this.chunks.length - 1) === chunk) return "evicted";
    }
    return "kept";
  }

  // What may leave now; `permitted`: how many leading rows of a chunk may.
  drain(permitted = (rows) => rows.length) {
    const ready = [];
    while (this.chunks.length && this.chunks[0].start <= this.position + 1) {
      const chunk = this.drop(0);
      const rows = chunk.rows.slice(this.position + 1 - chunk.start);
      if (!rows.length) continue;
      const start = this.position + 1;
      const count = permitted(rows);
      if (count) {
        this.position += count;
        ready.push({ start, rows: rows.slice(0, count), isBackfill: chunk.isBackfill });
      }
      if (count < rows.length) {
        this.keep(0, { start: start + count, rows: rows.slice(count), isBackfill: chunk.isBackfill });
        break;
      }
    }
    return ready;
  }

  // What to ask for next, as { after, limit }.
  missing(limit) {
    let have = this.position;
    for (const chunk of this.chunks) {
      if (chunk.start > have + 1) return { after: have, limit: Math.min(limit, chunk.start - have - 1) };
      have = Math.max(have, endOf(chunk));
    }
    return this.target > have ? { after: have, limit: Math.min(limit, this.target - have) } : null;
  }

  skipTo(position) {
    this.position = Math.max(this.position, position);
    this.target = Math.max(this.target, this.position);
  }

  clear(target) {
    this.chunks = [];
    this.rows = 0;
    if (target !== undefined) this.target = Math.max(target, this.position);
  }

  restart() {
    this.position = this.target = 0;
    this.clear();
  }

  keep(place, chunk) {
    this.chunks.splice(place, 0, chunk);
    this.rows += chunk.rows.length;
  }

  drop(place) {
    const [chunk] = this.chunks.splice(place, 1);
    this.rows -= chunk.rows.length;
    return chunk;
  }
}

function endOf(chunk) {
  return chunk.start + chunk.rows.length - 1;
}

export class StreamReceiver {
  // cursor: where to resume. start: "resume", "earliest", "latest", n > 0 the first sequence, n < 0 so many before the newest.
  constructor({ cursor = null, start = "resume", pageLimit = 10_000, random = Math.random } = {}) {
    const known = cursor ?? { storeId: "", latestSequence: 0, latestTsMs: 0, latestRevision: 0 };
    this.pageLimit = pageLimit;
    this.random = random;
    this.start = known.storeId || known.latestSequence ? null : start;
    this.storeId = known.storeId;
    this.lastTsMs = known.latestTsMs;
    this.lastSequence = known.latestTsMs ? known.latestSequence : 0;
    this.candles = new ReorderBuffer(known.latestSequence);
    this.revisions = new ReorderBuffer(known.latestRevision);
    this.out = [];
    this.resetConnection();
  }

  get cursor() {
    return {
      storeId: this.storeId,
      latestSequence: this.candles.position,
      latestTsMs: this.lastTsMs,
      latestRevision: this.revisions.position,
    };
  }

  get isLive() {
    const isPlaced = this.connected && this.verified && this.start === null && !this.checking;
    return isPlaced && !this.candles.missing(1) && !this.revisions.missing(1);
  }

  // When onTime must be called; null: not before another input.
  get wakeMs() {
    return this.connected && this.kind === null ? this.notBeforeMs : null;
  }

  onConnected(nowMs) {
    this.resetConnection();
    this.connected = true;
    return this.advance(nowMs);
  }

  onDisconnected(nowMs) {
    this.resetConnection();
    return this.advance(nowMs);
  }

  onBatch(batch, nowMs) {
    if (this.connected && isSound(batch.startSequence, batch.candles)) {
      const isNext = batch.startSequence === this.candles.position + 1;
      if (isNext && batch.candles[0].tsMs <= this.lastTsMs) {
        // The right number on the wrong time: let the server's store say which it is.
        this.candles.target = Math.max(this.candles.target, batch.startSequence + batch.candles.length - 1);
        this.statusDue = true;
      } else {
        this.candles.offer(batch.startSequence, batch.candles, false);
      }
    }
    return this.advance(nowMs);
  }

  onHeartbeat(status, nowMs) {
    if (this.connected) {
      if (this.isOtherStore(status)) {
        this.verified = false;
        this.notBeforeMs = null;
        this.candles.clear();
        this.revisions.clear();
      } else {
        this.checkNewest(status, false);
        this.verify(status);
        this.statusDue ||= status.latestSequence < this.candles.position;
      }
    }
    return this.advance(nowMs);
  }

  onStatus(status, nowMs) {
    if (this.complete("status")) {
      if (this.isOtherStore(status)) {
        this.restart("the server has a new store", status.storeId);
      } else {
        this.checkWentBack(status, nowMs);
        this.checkNewest(status, true);
      }
      this.verify(status);
      if (this.emptyReplies >= MOST_EMPTY) {
        if (status.latestSequence < this.candles.target) this.candles.clear(status.latestSequence);
        if (status.latestRevision < this.revisions.target) this.revisions.clear(status.latestRevision);
      }
    }
    return this.advance(nowMs);
  }

  onPage(page, nowMs) {
    if (this.complete("candles") && this.verified) {
      if (this.checking) this.onChecked(page, nowMs);
      else if (!this.candles.missing(1)) this.progress(); // the live feed was quicker
      else if (!isSound(page.startSequence, page.candles)) this.onEmpty(nowMs);
      else if (page.startSequence > this.candles.position + 1) {
        this.candles.offer(page.startSequence, page.candles, true);
        this.holes += 1;
        if (this.holes >= HOLE_CONFIRMATIONS) {
          this.skipGap(page.startSequence - 1, "the server has no such candles");
          this.progress();
        } else {
          this.onEmpty(nowMs);
        }
      } else if (this.candles.offer(page.startSequence, page.candles, true) === "kept") this.progress();
      else this.onEmpty(nowMs);
    }
    return this.advance(nowMs);
  }

  onRevision(revision, nowMs) {
    if (this.connected && revision.candles.length && revision.startRevision >= 1) {
      this.revisions.offer(revision.startRevision, revisionRows(revision), false);
    }
    return this.advance(nowMs);
  }

  onRevisions(page, nowMs) {
    if (this.complete("revisions") && this.verified) {
      const rows = revisionRows(page);
      if (rows.length && page.startRevision > this.revisions.position + 1) this.revisions.skipTo(page.startRevision - 1);
      if (this.revisions.offer(page.startRevision, rows, true) === "kept") this.progress();
      else this.onEmpty(nowMs);
    }
    return this.advance(nowMs);
  }

  onFailed(nowMs) {
    if (this.kind !== null) {
      this.kind = null;
      this.onEmpty(nowMs);
      this.giveUpChecking();
    }
    return this.advance(nowMs);
  }

  onTime(nowMs) {
    return this.advance(nowMs);
  }

  // --- rules ---

  resetConnection() {
    this.connected = this.verified = this.checking = this.statusDue = false;
    this.kind = this.notBeforeMs = null;
    this.emptyReplies = this.holes = this.wentBack = 0;
    this.toCheck = this.lastSequence ? { sequence: this.lastSequence, tsMs: this.lastTsMs } : null;
    this.candles.clear();
    this.revisions.clear();
  }

  complete(kind) {
    if (this.kind !== kind) return false;
    this.kind = null;
    return true;
  }

  progress() {
    this.emptyReplies = this.holes = 0;
    this.notBeforeMs = null;
  }

  onEmpty(nowMs) {
    this.emptyReplies += 1;
    const full = Math.min(CAP_MS, BASE_MS * 2 ** Math.min(this.emptyReplies - 1, 30));
    this.notBeforeMs = nowMs + full * (0.5 + 0.5 * this.random());
    this.statusDue = true;
  }

  isOtherStore(status) {
    return Boolean(this.storeId && status.storeId && status.storeId !== this.storeId);
  }

  // A store that was put back gives the same sequences to candles of other times.
  checkNewest(status, isAnswer) {
    if (!this.toCheck || this.checking) return;
    const { sequence, tsMs } = this.toCheck;
    if (status.firstSequence > sequence) this.toCheck = null;
    else if (status.latestSequence === sequence && status.latestTsMs) {
      if (status.latestTsMs === tsMs) this.toCheck = null;
      else if (isAnswer) this.restart("the server's store has other candles under the same sequences", this.storeId);
      else this.statusDue = true;
    } else if (status.latestSequence > sequence) this.checking = true;
  }

  onChecked(page, nowMs) {
    const { sequence, tsMs } = this.toCheck;
    if (!isSound(page.startSequence, page.candles) || page.startSequence < sequence) {
      this.onEmpty(nowMs);
      this.giveUpChecking();
      return;
    }
    if (page.startSequence === sequence && page.candles[0].tsMs !== tsMs) {
      this.restart("the server's store has other candles under the same sequences", this.storeId);
      this.statusDue = true;
    } else {
      this.toCheck = null;
      this.checking = false;
    }
    this.progress();
  }

  giveUpChecking() {
    if (this.checking && this.emptyReplies >= MOST_EMPTY) {
      this.toCheck = null;
      this.checking = false;
    }
  }

  checkWentBack(status, nowMs) {
    if (this.start !== null || status.latestSequence >= this.candles.position) {
      this.wentBack = 0;
      return;
    }
    this.wentBack += 1;
    if (this.wentBack >= ROLLBACK_CONFIRMATIONS) {
      this.restart("the server's store is older than what it served before", status.storeId);
    } else {
      this.onEmpty(nowMs);
    }
  }

  restart(reason, storeId) {
    this.candles.restart();
    this.revisions.restart();
    this.lastTsMs = this.lastSequence = this.wentBack = 0;
    this.toCheck = null;
    this.checking = false;
    this.storeId = storeId;
    this.start = "earliest";
    this.out.push({ do: "restart", reason, storeId, cursor: this.cursor });
  }

  verify(status) {
    this.verified = true;
    this.storeId ||= status.storeId;
    if (this.start !== null) {
      this.setStart(this.start, status);
      this.start = null;
    } else if (status.firstSequence > this.candles.position + 1) {
      this.skipGap(status.firstSequence - 1, "older than the oldest candle the server keeps");
    }
    this.candles.target = Math.max(this.candles.target, status.latestSequence);
    this.revisions.target = Math.max(this.revisions.target, status.latestRevision);
  }

  setStart(start, status) {
    const beforeOldest = Math.max(0, status.firstSequence - 1);
    let position = status.latestSequence;
    let revision = status.latestRevision;
    if (start === "earliest" || start === "resume") {
      // Revisions from the first one: only they hold the minutes that never had a sequence.
      position = beforeOldest;
      revision = 0;
    } else if (typeof start === "number") {
      position = Math.min(position, Math.max(0, start > 0 ? start - 1 : position + start));
    }
    this.candles.skipTo(position);
    this.revisions.skipTo(revision);
    if (beforeOldest > position) {
      if (typeof start === "number" && start > 0) {
        this.skipGap(beforeOldest, "older than the oldest candle the server keeps");
      }
      this.candles.skipTo(beforeOldest);
    }
  }

  skipGap(toSequence, reason) {
    const cursor = { ...this.cursor, latestSequence: toSequence };
    this.out.push({ do: "gap", fromSequence: this.candles.position + 1, toSequence, reason, cursor });
    this.candles.skipTo(toSequence);
    this.holes = 0;
  }

  // --- the one place where things go on ---

  advance(nowMs) {
    if (this.verified && !this.checking) {
      this.deliverCandles();
      // A correction waits for the candle it corrects, else the older version would come last.
      const permitted = (rows) => {
        const ahead = rows.findIndex((row) => row.sequence > this.candles.position);
        return ahead < 0 ? rows.length : ahead;
      };
      for (const { start, rows } of this.revisions.drain(permitted)) {
        const [sequences, candles] = [rows.map((row) => row.sequence), rows.map((row) => row.candle)];
        const cursor = { ...this.cursor, latestRevision: start + rows.length - 1 };
        this.out.push({ do: "revision", startRevision: start, sequences, candles, cursor });
      }
    }
    if (this.connected) this.request(nowMs);
    const out = this.out;
    this.out = [];
    return out;
  }

  deliverCandles() {
    for (let { start, rows, isBackfill } of this.candles.drain()) {
      const known = rows.findIndex((candle) => candle.tsMs > this.lastTsMs);
      const drop = known < 0 ? rows.length : known;
      start += drop;
      rows = rows.slice(drop);
      if (!rows.length) continue;
      this.lastTsMs = rows[rows.length - 1].tsMs;
      this.lastSequence = start + rows.length - 1;
      const cursor = { ...this.cursor, latestSequence: this.lastSequence };
      this.out.push({ do: "candles", startSequence: start, candles: rows, isBackfill, cursor });
    }
  }

  request(nowMs) {
    if (this.kind !== null || (this.notBeforeMs !== null && nowMs < this.notBeforeMs)) return;
    this.notBeforeMs = null;
    if (!this.verified || this.statusDue) {
      this.statusDue = false;
      this.kind = "status";
      this.out.push({ do: "request", kind: "status" });
      return;
    }
    const candles = this.checking
      ? { after: this.toCheck.sequence - 1, limit: 1 }
      : this.candles.missing(this.pageLimit);
    const missing = candles ?? this.revisions.missing(this.pageLimit);
    if (missing) {
      this.kind = candles ? "candles" : "revisions";
      this.out.push({ do: "request", kind: this.kind, ...missing });
    }
  }
}

function isSound(start, candles) {
  if (start < 1 || !candles.length) return false;
  return candles.every((candle, index) => index === 0 || candle.tsMs > candles[index - 1].tsMs);
}

function revisionRows({ sequences, candles }) {
  return candles.map((candle, index) => ({ sequence: sequences[index] ?? 0, candle }));
}
