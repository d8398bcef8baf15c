// The health of a stream in five states, from the connection, the server's word on its feed, and the updates. Pure.

const HEARTBEAT_SILENCE_MS = 1600; // heartbeats come each second
const CONNECT_TIMEOUT_MS = 2000;

export const FEED_STATES = [
  "unknown", "no_browser", "no_socket", "unsynchronised", "live", "stalled", "unsubscribed", "logged_out",
  "waiting_for_consent", "not_in_focus", "clock_in_question",
];

const FEED_REASONS = {
  no_browser: ["stalled", "server up, no browser"],
  no_socket: ["stalled", "browser connected, no trading page"],
  stalled: ["stalled", "the trading page's connection has gone silent"],
  unsynchronised: ["subscribed", "ticks arrive, but the platform's clock is not measured yet"],
  unsubscribed: ["subscribed", "the trading page shows other assets"],
  logged_out: ["stalled", "the trading page is logged out of the platform"],
  waiting_for_consent: ["stalled", "Chrome waits for your consent to be attached to"],
  not_in_focus: ["subscribed", "not in focus: no candles are made of it at present"],
  clock_in_question: ["subscribed", "the server's clock is in question"],
};

const LABELS = {
  disconnected: ["Disconnected", ""], connecting: ["Connecting", null], subscribed: ["Idle", " ago"],
  receiving: ["Live", " ago"], stalled: ["Stale", ""],
};

function ageText(ageMs) {
  const seconds = ageMs / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)}s`;
  if (seconds < 600) return `${seconds.toFixed(0)}s`;
  return seconds < 7200 ? `${(seconds / 60).toFixed(0)}m` : `${(seconds / 3600).toFixed(0)}h`;
}

export class StreamHealth {
  constructor(nowMs, idleAfterMs) {
    this.idleAfterMs = idleAfterMs;
    this.connected = this.wasConnected = false;
    this.epochMs = nowMs;
    this.downReason = this.refusal = "";
    this.heartbeatMs = this.updateMs = null;
    this.feedState = "unknown";
    this.told = "";
  }

  onConnected(nowMs) {
    this.connected = this.wasConnected = true;
    this.epochMs = nowMs;
    this.heartbeatMs = null;
    this.refusal = "";
  }

  onDisconnected(reason) {
    this.connected = false;
    this.downReason = reason;
  }

  onHeartbeat(status, nowMs) {
    this.heartbeatMs = nowMs;
    this.refusal = "";
    this.feedState = FEED_STATES[status.feedState] ?? "unknown"; // the list grows
    if (status.lastTickTsMs > 0 && status.serverTimeMs > 0) {
      const tickedMs = nowMs - Math.max(0, status.serverTimeMs - status.lastTickTsMs);
      this.updateMs = Math.max(this.updateMs ?? tickedMs, tickedMs);
    }
  }

  onUpdate(nowMs) {
    this.heartbeatMs = this.updateMs = nowMs;
    this.refusal = "";
  }

  onRefused(reason) {
    this.refusal = reason;
  }

  now(nowMs) {
    const [state, reason] = this.compute(nowMs);
    const ageMs = this.updateMs === null ? null : Math.max(0, nowMs - this.updateMs);
    const [word, tail] = LABELS[state];
    const label = ageMs === null || tail === null ? word : `${word}, ${ageText(ageMs)}${tail}`;
    return { state, reason, label, ageMs, feedState: this.feedState };
  }

  // The health if state or reason changed since it was told last, else null.
  changed(nowMs) {
    const health = this.now(nowMs);
    const said = `${health.state} ${health.reason} ${health.feedState}`;
    if (said === this.told) return null;
    this.told = said;
    return health;
  }

  compute(nowMs) {
    if (!this.connected) {
      if (this.wasConnected) return ["disconnected", this.downReason || "connection lost; reconnecting"];
      if (nowMs - this.epochMs >= CONNECT_TIMEOUT_MS) return ["disconnected", "no server answers; retrying"];
      return ["connecting", "looking for the server"];
    }
    if (this.refusal) return ["subscribed", this.refusal];
    if (nowMs - (this.heartbeatMs ?? this.epochMs) >= HEARTBEAT_SILENCE_MS) {
      return ["stalled", "no heartbeat from the server"];
    }
    if (this.heartbeatMs === null) return ["connecting", "waiting for the server's first heartbeat"];
    if (FEED_REASONS[this.feedState]) return FEED_REASONS[this.feedState];
    if (this.updateMs === null) return ["subscribed", "no update yet"];
    if (nowMs - this.updateMs > this.idleAfterMs) return ["subscribed", "a quiet market: no update for a while"];
    return ["receiving", ""];
  }
}
