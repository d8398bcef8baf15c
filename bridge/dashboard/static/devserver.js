// The words of the dev server's panel, and what a client of it went through: gaps and how they healed, health. Pure.

const KEPT = 200;
/** Field of the faults, its words, its largest value; `feed_state` and `stall` have controls of another kind. */
export const FAULTS = [
  ["drop_percent", "Drop, %", 100],
  ["skip_every", "Skip every n-th batch", 1_000],
  ["jitter_ms", "Jitter, ms", 10_000],
  ["reorder_percent", "Reorder, %", 100],
  ["duplicate_percent", "Send twice, %", 100],
  ["garbage_percent", "Damage, %", 100],
  ["answer_delay_ms", "Answers late, ms", 30_000],
  ["answer_fail_percent", "Answers fail, %", 100],
  ["answer_empty_percent", "Answers empty, %", 100],
];
/** By their numbers on the wire. */
export const FEED_STATES = ["unknown", "no browser", "no socket", "unsynchronised", "live", "stalled", "unsubscribed", "logged out", "waiting for consent", "not in focus", "clock in question"];

/** The four counters of the panel: messages published, candles stored, messages dropped by a fault, requests answered. */
export function counts({ counters, streams }) {
  const sum = (begin) => Object.entries(counters).reduce((total, [name, count]) => total + (name.startsWith(begin) ? count : 0), 0);
  const dropped = sum("dropped_");
  return {
    published: sum("sent_") - dropped,
    stored: streams.reduce((total, stream) => total + stream.latest_sequence, 0),
    dropped,
    served: counters.answers ?? 0,
  };
}

export class ClientLog {
  /** lines: {number, kind, text}, oldest first. candles: how many came, each once. */
  constructor() {
    this.lines = [];
    this.candles = 0;
    this.number = 0;
    this.state = "";
  }

  /** Another stream is listened to; the lines stay. */
  begin() {
    this.candles = 0;
    this.state = "";
  }

  /** One event of the live feed. */
  take(kind, data) {
    if (kind === "snapshot") {
      this.candles += data.candles.length;
      if (data.candles.length) this.note("history", `${data.candles.length} fetched, up to #${Math.max(...data.sequences)}`);
    } else if (kind === "candles") {
      const { sequence, candles, backfill } = data;
      this.candles += candles.length;
      if (!backfill) return;
      const last = sequence + candles.length - 1;
      this.note("gap", `#${sequence}${last > sequence ? ` to #${last}` : ""} did not arrive`);
      this.note("healed", `${candles.length} fetched while live candles arrived`);
    } else if (kind === "revision") this.note("revised", `${data.candles.length} corrected`);
    else if (kind === "gap") this.note("lost", `#${data.from_sequence} to #${data.to_sequence}: ${data.reason}`);
    else if (kind === "reset") this.note("new store", data.reason);
    else if (kind === "state" && `${data.state}|${data.reason}` !== this.state) {
      this.state = `${data.state}|${data.reason}`;
      this.note(data.state, data.reason || data.label);
    }
  }

  note(kind, text) {
    this.number += 1;
    this.lines.push({ number: this.number, kind, text });
    if (this.lines.length > KEPT) this.lines.shift();
  }
}
