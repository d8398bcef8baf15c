// What the bar below the chart says of one stream: state, age, reason, what to do, and figures. Pure.

import { ageText, countdown, dateTimeText, healthDot, healthLabel, offsetText } from "./format.js";

const TODO = {
  no_browser: "Start Chrome: `fluxcap chrome`.",
  no_socket: "Open or reload the trading page, and log in to it.",
  stalled: "Reload the trading page.",
  unsubscribed: "Turn the trading page to this asset.",
  logged_out: "Log in on the trading page.",
  waiting_for_consent: "Allow the connection in Chrome's own question.",
  not_in_focus: "It comes into focus while you look at it.",
  clock_in_question: "Set this machine's clock right, or reload the trading page.",
};
const NO_STREAM = "the server has no such stream";
/** States in which somebody has to do something before candles come. */
const NEEDS_SOMEBODY = new Set(["stalled", "logged_out", "waiting_for_consent", "clock_in_question"]);
/** Time after which a live feed without a tick is called quiet. */
export const QUIET_MS = 20_000;

/** The health of a stream as its last `state` event had it, aged to now; without a server, that. */
export class HealthView {
  constructor(nowMs) {
    this.event = null;
    this.atMs = nowMs;
    this.tickMs = null;
    this.lost = "";
    this.wasConnected = false;
  }

  /** A state event came. */
  set(event, nowMs) {
    this.event = event;
    this.tickMs = event.age_ms === null ? null : nowMs - event.age_ms;
    this.lost = "";
    this.wasConnected = true;
  }

  /** A price came. */
  tick(nowMs) {
    this.tickMs = nowMs;
  }

  /** The page's own connection is gone. */
  lose(reason) {
    this.lost = reason;
  }

  state(nowMs) {
    if (this.lost) return this.wasConnected || nowMs - this.atMs > 2_000 ? "disconnected" : "connecting";
    return this.event?.state ?? "connecting";
  }

  /** {dot, state, label, reason, todo, ageMs} at a time. */
  now(nowMs) {
    const state = this.state(nowMs);
    const ageMs = this.tickMs === null ? null : Math.max(0, nowMs - this.tickMs);
    let reason = this.lost || this.event?.reason || (this.event ? "" : "looking for the server");
    const isNew = reason === NO_STREAM;
    if (isNew) reason = "nothing was captured of it yet";
    if (state === "receiving" && ageMs !== null && ageMs >= QUIET_MS) reason = "quiet: no tick for a while";
    return {
      dot: healthDot(state),
      state,
      label: healthLabel(state, ageMs),
      reason,
      todo: this.lost ? "Start it: `fluxcap run`. This page goes on by itself." : isNew ? "It begins with its next tick." : TODO[this.event?.feed_state] ?? "",
      needsSomebody: !this.lost && state !== "receiving" && NEEDS_SOMEBODY.has(this.event?.feed_state),
      ageMs,
    };
  }
}

/** What keeps candles from being made, with what to do, by the daemon's own word; "" when nothing does. */
export function obstacleOf(status) {
  if (!status) return "";
  if (status.store_trouble) return `Nothing can be published: ${status.store_trouble}`;
  if (status.chrome !== "attached") return status.chrome_reason || `Chrome is ${status.chrome}.`;
  return "";
}

/** Whether the browser's user can be asked for consent once more: nobody was let in, and consent is the way in. */
export function canAsk(status) {
  return Boolean(status?.consent) && !status.chrome.startsWith("attached");
}

/** "412 of 412 candles equal" and whether that is all of them; null while nothing was compared. */
export function agreementOf(status, streamId) {
  const found = status?.agreement?.streams?.[streamId];
  if (!found?.compared) return null;
  return { text: `${found.equal} of ${found.compared} candles equal`, isWhole: found.equal === found.compared };
}

/** The candles of a stream that differ from the platform's own: start → the platform's [open, high, low, close]. */
export function differingOf(status, streamId) {
  const rows = status?.agreement?.differing ?? [];
  return new Map(rows.filter((row) => row.stream === streamId).map((row) => [row.ts_ms, row.platform]));
}

/** Name and value of each figure, always all of them, so that nothing moves when one becomes known. */
export function figuresOf(status, series, streamId, rate, nextMs = null) {
  const asset = status?.assets?.find((one) => streamId.split(".")[1] === one.symbol);
  const stream = status?.streams?.find((one) => one.stream === streamId);
  const last = series?.sequence ? `#${series.sequence} ${dateTimeText(series.lastMs).slice(11)}` : "-";
  const lagMs = stream?.age_ms ?? (asset ? status.server_time_ms - asset.last_tick_ts_ms : null);
  return [
    ["next candle", nextMs === null ? "-" : countdown(nextMs)],
    ["newest", last],
    ["platform clock", offsetText(status?.platform_offset_ms)],
    ["ticks/s", rate === null ? "-" : rate.toFixed(1)],
    ["lag", lagMs === null || lagMs === undefined ? "-" : ageText(lagMs)],
  ];
}

/** Rate of a counter over the last looks. */
export class Rate {
  constructor(windowMs = 10_000) {
    this.windowMs = windowMs;
    this.looks = [];
  }

  /** Counts a second; null while unknown. */
  look(nowMs, count) {
    const last = this.looks[this.looks.length - 1];
    if (last && count < last[1]) this.looks = [];
    this.looks.push([nowMs, count]);
    while (this.looks[0][0] < nowMs - this.windowMs) this.looks.shift();
    const [beginMs, begin] = this.looks[0];
    return nowMs > beginMs ? ((count - begin) * 1_000) / (nowMs - beginMs) : null;
  }
}
