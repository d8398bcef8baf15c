// The daemon's REST API, as the page asks it.

export const HAS_DAEMON = globalThis.document?.documentElement.dataset.daemon === "yes";
export const NO_DAEMON = "No fluxcap answers.";

export class Refused extends Error {}

/**
 * The answer as JSON. answer: of the same question, where it was asked before.
 * Throws Refused with the daemon's own sentence, or TypeError where nobody answers.
 */
export async function ask(path, { answer: asked, ...options } = {}) {
  const answer = (await asked) ?? (await fetch(path, { cache: "no-store", ...options }));
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(body.error || body.detail || `HTTP ${answer.status}`);
  return body;
}

/** Change something: PUT, POST or DELETE with a JSON body. */
export function send(method, path, body, options = {}) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return ask(path, { method, ...json, ...options });
}

/** Candles of a stream before a time, the newest `limit` of them, and whether there are older ones. */
export async function olderCandles(stream, beforeMs, limit) {
  const query = new URLSearchParams({ stream, to_ms: beforeMs, limit, newest: true });
  const { candles, next } = await ask(`/api/candles?${query}`);
  return { rows: candles, hasMore: Boolean(next) };
}

/** Holds an asset in focus while somebody looks at it. Nobody else's focus changes. */
export class Lease {
  static SECONDS = 150; // browsers wake a page that nobody sees once a minute
  static FIRST_SECONDS = 15; // a page that goes at once may let go before its wish has arrived
  static RENEW_MS = 30_000;

  constructor(holder) {
    this.path = `/api/focus/leases/${holder}`;
    this.asset = "";
    this.dueMs = 0;
    this.error = "";
  }

  /** asset: symbol, or "" to let go. */
  async hold(asset, nowMs) {
    if (!asset) {
      this.release();
      return;
    }
    if (asset === this.asset && nowMs < this.dueMs) return;
    const isFirst = asset !== this.asset;
    const seconds = isFirst ? Lease.FIRST_SECONDS : Lease.SECONDS;
    this.asset = asset;
    this.dueMs = nowMs + (isFirst || this.error ? Lease.RENEW_MS / 6 : Lease.RENEW_MS);
    try {
      await send("PUT", this.path, { asset, seconds });
      this.error = "";
    } catch (error) {
      this.error = error instanceof Refused ? error.message : "";
    }
  }

  /** Also as the page goes. */
  release() {
    if (!this.asset) return;
    this.asset = "";
    this.dueMs = 0;
    fetch(this.path, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}
