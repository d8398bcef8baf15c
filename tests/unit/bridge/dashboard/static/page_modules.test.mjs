// The page's pure modules, by Node's own test runner; test_static_modules.py runs this.
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { test } from "node:test";

const load = (name) => import(pathToFileURL(`${process.env.PAGE_MODULES}/${name}.js`));
const { Series, axisTimes, blindAreas, csvText } = await load("series");
const { noChoices, readChoices, toAddress, toMemory } = await load("choices");
const { Assets } = await load("assets");
const { Feed, feedAddress } = await load("feed");
const { HealthView, agreementOf, canAsk, differingOf, obstacleOf, Rate } = await load("truth");
const { collectionWords } = await load("drawer");
const { Ema, Rsi, Sma, Bollinger, indicatorOf } = await load("indicators");
const { ClientLog, counts } = await load("devserver");
const { countdown, durationText, flagWords, zoneOffsetMs } = await load("format");

const MINUTE = 60_000;
const row = (minute, close = 1, flags = 0) => [minute * MINUTE, 1, 2, 0.5, close, 10, 10, flags];
const filled = (from, to) => {
  const series = new Series(MINUTE);
  const rows = [];
  for (let minute = from; minute < to; minute += 1) rows.push(row(minute));
  series.snapshot(rows, rows.map((_, i) => i + 1), "store", rows.length);
  return series;
};

test("candles follow each other, and what comes twice stands once", () => {
  const series = filled(10, 20);
  assert.equal(series.append(10, [row(19, 3), row(20)]), 9);
  assert.equal(series.rows.length, 11);
  assert.equal(series.at(19 * MINUTE)[4], 3);
  assert.equal(series.sequence, 11);
});

test("a revision takes the place of its minute, or a place between, and none before the first", () => {
  const series = filled(10, 20);
  series.rows.splice(4, 1);
  assert.equal(series.revise([row(5), row(14, 7), row(16, 8)]), 4);
  assert.equal(series.firstMs, 10 * MINUTE);
  assert.deepEqual([series.at(14 * MINUTE)[4], series.at(16 * MINUTE)[4], series.rows.length], [7, 8, 10]);
  assert.deepEqual(series.rows.map(([ts]) => ts), [...series.rows.map(([ts]) => ts)].sort((a, b) => a - b));
});

test("the candle under way is newer than every sealed one, or it is none", () => {
  const series = filled(10, 20);
  assert.equal(series.setForming(row(19)), false);
  assert.equal(series.setForming(row(20, 5)), true);
  assert.equal(series.last[4], 5);
  series.append(11, [row(20, 6)]);
  assert.equal(series.forming, null);
});

test("a snapshot keeps the older candles of the same store where it adjoins, and nothing else", () => {
  const series = filled(10, 20);
  series.snapshot([row(15, 9), row(21)], [6, 12], "store", 2);
  assert.deepEqual([series.firstMs, series.rows.length, series.at(15 * MINUTE)[4], series.at(16 * MINUTE)], [10 * MINUTE, 7, 9, null]);
  series.snapshot([row(40)], [30], "store", 1);
  assert.equal(series.rows.length, 1);
  series.snapshot([row(40), row(41)], [1, 2], "another", 5);
  assert.deepEqual([series.rows.length, series.hasOlder], [2, false]);
});

test("older candles stand before what is there, once", () => {
  const series = filled(10, 12);
  series.prepend([row(8), row(9), row(10, 99)], true);
  assert.deepEqual(series.rows.map(([ts]) => ts / MINUTE), [8, 9, 10, 11]);
  assert.equal(series.at(10 * MINUTE)[4], 1);
});

test("blind minutes have a place on the axis, so many of each time at most", () => {
  const rows = [row(1), row(2), row(6), row(200)];
  const areas = [{ from: 3 * MINUTE, to: 6 * MINUTE, reason: "" }, { from: 7 * MINUTE, to: 190 * MINUTE, reason: "" }];
  assert.deepEqual(axisTimes(rows, areas.slice(0, 1), MINUTE).map((ts) => ts / MINUTE), [1, 2, 3, 4, 5, 6, 200]);
  assert.equal(axisTimes(rows, areas, MINUTE).length, 4 + 3 + 60);
  assert.deepEqual(axisTimes([], areas, MINUTE), []);
});

test("blind times are cut to what is shown, joined where they touch, and reach to the end while they last", () => {
  const gap = (from_ms, to_ms, reason = "closed") => ({ from_ms, to_ms, reason });
  assert.deepEqual(blindAreas([gap(0, 50), gap(900, 2_000), gap(3_000, 4_000)], 10, 1_000), [{ from: 10, to: 50, reason: "closed" }, { from: 900, to: 1_000, reason: "closed" }]);
  assert.deepEqual(blindAreas([gap(500, 0)], 0, 1_000), [{ from: 500, to: 1_000, reason: "closed" }]);
  assert.deepEqual(blindAreas([gap(400, 500, "reloaded"), gap(100, 300), gap(200, 400, "reloaded")], 0, 1_000), [{ from: 100, to: 500, reason: "closed, reloaded" }]);
});

test("a CSV has a head and a line a candle", () => {
  assert.equal(csvText([row(1, 1.5, 4)]), "timestamp,open,high,low,close,volume,tick_count,flags\n1970-01-01T00:01:00.000Z,1,2,0.5,1.5,10,10,4\n");
});

test("an address says a choice whole, and a choice writes the same address", () => {
  const address = "?source=platform&asset=EURUSD_otc&tf=5m&bars=80&theme=light&zone=local&log=1&ind=sma20,rsi14";
  const choices = readChoices(address, "");
  assert.deepEqual([choices.source, choices.charts[0].asset, choices.charts[0].tf, choices.charts[0].bars, choices.log], ["platform", "EURUSD_otc", "5m", 80, true]);
  assert.equal(toAddress(choices), address);
});

test("a grid's charts have their own assets and timeframes in the address", () => {
  const choices = readChoices("?source=platform&grid=2&asset=A&tf=1m&asset=B&tf=5m", "");
  assert.deepEqual(choices.charts.map(({ asset, tf }) => [asset, tf]), [["A", "1m"], ["B", "5m"]]);
  assert.deepEqual(readChoices(toAddress(choices), "").charts, choices.charts);
});

test("what was chosen is remembered, a place in time is not, and nonsense is nothing", () => {
  const choices = { ...readChoices("?source=csv&asset=A&tf=5m&to=1700000000000", ""), favourites: ["A", "#AAPL"] };
  const found = readChoices("", toMemory(choices));
  assert.deepEqual([found.source, found.charts[0].asset, found.charts[0].to, found.favourites], ["csv", "A", 0, ["A", "#AAPL"]]);
  for (const memory of ["{", "null", "[1]", '{"charts": 5, "favourites": {"a": 1}, "grid": 3, "indicators": [7]}']) assert.deepEqual(readChoices("", memory), noChoices());
  assert.deepEqual(readChoices("?start", toMemory(choices)).source, "");
});

test("names and figures of an address that are none are left out", () => {
  const choices = readChoices("?source=platform&asset=%3Cb%3E&tf=abc&bars=-4&zone=mars&ind=sma0,x,bb20", "");
  assert.deepEqual([choices.charts[0].asset, choices.charts[0].tf, choices.charts[0].bars, choices.zone, choices.indicators], ["", "", 0, "utc", ["bb20"]]);
});

const status = (assets) => ({ source: "PO", interval: "1m", assets });
test("the watchlist has favourites first, then what ticks, and finds the rest by name", () => {
  const assets = new Assets();
  assets.setStatus(status([{ symbol: "B_otc", feed: "live", last_price: 2 }, { symbol: "C", feed: "stalled", last_price: 0, blind_reason: "socket closed" }]));
  assets.setListed([{ symbol: "A", name: "Alpha", payout: 80, active: true }, { symbol: "B_otc", name: "Beta", payout: 90, active: true }, { symbol: "C", name: "Gamma", payout: 70, active: false }]);
  assert.deepEqual(assets.rows("", ["C"]).map(({ id }) => id), ["C", "B_otc"]);
  assert.deepEqual(assets.rows("alp", []).map(({ id }) => id), ["A"]);
  assert.deepEqual([assets.nameOf("B_otc"), assets.payoutOf("B_otc"), assets.payoutOf("C")], ["Beta OTC", 90, null]);
  assert.equal(assets.stateOf("C").reason, "socket closed");
});

test("timeframes are those of the streams that are there, the live one always", () => {
  const assets = new Assets();
  assets.setStatus(status([]));
  assets.setStreams(["1h", "5m"].map((interval) => ({ stream: `PO/A/${interval}`, source: "PO", symbol: "A", interval })));
  assert.deepEqual([assets.timeframes("A"), assets.timeframes("B"), assets.streamOf("A", "5m"), assets.streamOf("X:A", "1m")], [["1m", "5m", "1h"], ["1m"], "PO/A/5m", "X/A/1m"]);
});

test("a price of the feed counts more than the status, and its state says why", () => {
  const assets = new Assets();
  assets.setStatus(status([{ symbol: "A", feed: "live", last_price: 2 }]));
  assets.setPrices({ "PO/A/1m": [3, 60_000] });
  assets.setState({ stream: "PO/A/1m", state: "stalled", reason: "gone silent", age_ms: 1 }, 0);
  assert.deepEqual([assets.priceOf("A"), assets.stateOf("A")], [3, { state: "stalled", reason: "gone silent" }]);
});

class FakeSource {
  static made = [];
  constructor(address) {
    Object.assign(this, { address, handlers: {}, readyState: 1, isClosed: false });
    FakeSource.made.push(this);
  }
  addEventListener(kind, handle) {
    this.handlers[kind] = handle;
  }
  say(kind, data = {}, lastEventId = "") {
    this.handlers[kind]({ data: JSON.stringify(data), lastEventId });
  }
  close() {
    this.isClosed = true;
  }
}
const feedRig = () => {
  FakeSource.made = [];
  const waiting = [];
  const [events, losses] = [[], []];
  const timers = { setTimeout: (call) => waiting.push(call), clearTimeout: () => waiting.splice(0) };
  const feed = new Feed((kind) => events.push(kind), (lost) => losses.push(lost), (address) => new FakeSource(address), timers);
  return { feed, events, losses, waiting };
};

test("a feed names its streams, and another wish ends the one before", () => {
  const { feed, events } = feedRig();
  feed.open(["PO/A/1m"], ["*/*/1m"], 5);
  feed.open(["PO/A/1m"], ["*/*/1m"], 5);
  feed.open(["PO/B/1m"], ["*/*/1m"], 5);
  const [first, second] = FakeSource.made;
  assert.equal(FakeSource.made.length, 2);
  assert.equal(first.address, feedAddress(["PO/A/1m"], ["*/*/1m"], 5));
  first.say("candles");
  second.say("candles");
  assert.deepEqual([first.isClosed, events], [true, ["candles"]]);
});

test("a feed that rested goes on after the last event it had", () => {
  const { feed } = feedRig();
  feed.open(["PO/A/1m"], [], 5);
  FakeSource.made[0].say("candles", {}, "id-7");
  feed.rest();
  feed.wake();
  assert.ok(FakeSource.made[1].address.endsWith("&after=id-7"));
});

test("a feed that was refused tries again, and tells that it is lost until it is back", () => {
  const { feed, losses, waiting } = feedRig();
  feed.open(["PO/A/1m"], [], 5);
  FakeSource.made[0].readyState = 2;
  FakeSource.made[0].handlers.error();
  assert.equal(waiting.length, 1);
  waiting.pop()();
  FakeSource.made[1].say("start");
  assert.deepEqual([losses, FakeSource.made.length], [[true, false], 2]);
});

test("a state ages from its last tick, and says what to do", () => {
  const health = new HealthView(0);
  assert.deepEqual([health.now(100).label, health.now(100).dot], ["Connecting", "wait"]);
  health.set({ state: "receiving", reason: "", age_ms: 300, feed_state: "live" }, 1_000);
  assert.equal(health.now(1_000).label, "Live, 0.3s ago");
  assert.equal(health.now(30_000).reason, "quiet: no tick for a while");
  health.tick(30_000);
  assert.equal(health.now(30_100).label, "Live, 0.1s ago");
  health.set({ state: "stalled", reason: "the trading page is logged out of the platform", age_ms: 8_200, feed_state: "logged_out" }, 40_000);
  assert.deepEqual([health.now(40_000).label, health.now(40_000).todo], ["Stale, 8.2s", "Log in on the trading page."]);
  health.lose("No fluxcap answers.");
  assert.equal(health.now(41_000).state, "disconnected");
});

test("every state of a feed that needs somebody says what to do", async () => {
  for (const feed of ["no_browser", "no_socket", "stalled", "unsubscribed", "logged_out", "waiting_for_consent", "not_in_focus", "clock_in_question"]) {
    const health = new HealthView(0);
    health.set({ state: "stalled", reason: "x", age_ms: null, feed_state: feed }, 0);
    assert.ok(health.now(0).todo, feed);
  }
});

test("a stale feed needs somebody, an idle one that waits and one whose server is gone do not", () => {
  const needs = (state, feed_state) => {
    const health = new HealthView(0);
    health.set({ state, reason: "x", age_ms: null, feed_state }, 0);
    return health.now(0).needsSomebody;
  };
  for (const feed of ["stalled", "logged_out", "waiting_for_consent", "clock_in_question"]) assert.ok(needs("stalled", feed), feed);
  for (const feed of ["not_in_focus", "unsubscribed", "live"]) assert.ok(!needs("subscribed", feed), feed);
  const gone = new HealthView(0);
  gone.set({ state: "stalled", reason: "x", age_ms: null, feed_state: "logged_out" }, 0);
  gone.lose("No fluxcap answers.");
  assert.ok(!gone.now(0).needsSomebody);
});

test("a stream that is not there yet is told as what it is", () => {
  const health = new HealthView(0);
  health.set({ state: "subscribed", reason: "the server has no such stream", age_ms: null, feed_state: "unknown" }, 0);
  assert.deepEqual([health.now(0).reason, health.now(0).todo], ["nothing was captured of it yet", "It begins with its next tick."]);
});

test("a browser is asked again only where consent is the way in and nobody was let in", () => {
  const may = (chrome, consent) => canAsk({ chrome, consent });
  assert.deepEqual([may("waiting for your consent", true), may("not reachable", true)], [true, true]);
  assert.deepEqual([may("attached", true), may("attached, not answering", true), may("not reachable", false), canAsk(null)], [false, false, false, false]);
});

test("a collection says how far it is, what was saved, and what is missing", () => {
  const none = { done: 0, total: 0, told: "", error: "", failed: [] };
  const failed = ["1h", "15m", "5m", "1m"].map((timeframe) => ({ asset: "EUR/USD OTC", timeframe, reason: "none came" }));
  assert.match(collectionWords({ ...none, state: "running" }), /favourites/);
  assert.equal(collectionWords({ ...none, state: "running", told: "Click Allow." }), "Click Allow.");
  assert.equal(collectionWords({ ...none, state: "running", done: 3, total: 8 }), "Collecting history: 3 of 8 saved.");
  assert.match(collectionWords({ ...none, state: "stopping" }), /turned back/);
  assert.equal(collectionWords({ ...none, state: "ended", error: "The page is gone." }), "The page is gone.");
  assert.equal(
    collectionWords({ ...none, state: "ended", told: "Saved 4 files.", failed }),
    "Saved 4 files. Missing: EUR/USD OTC 1h (none came), EUR/USD OTC 15m (none came), EUR/USD OTC 5m (none came) and 1 more.",
  );
});

test("agreement is told only where something was compared, and what differs by its time", () => {
  const found = { agreement: { streams: { "PO.A.1m": { compared: 412, equal: 411 } }, differing: [{ stream: "PO.A.1m", ts_ms: 60_000, platform: [1, 2, 0, 1] }] } };
  assert.deepEqual(agreementOf(found, "PO.A.1m"), { text: "411 of 412 candles equal", isWhole: false });
  assert.equal(agreementOf(found, "PO.B.1m"), null);
  assert.deepEqual([...differingOf(found, "PO.A.1m").keys()], [60_000]);
  assert.equal(obstacleOf({ chrome: "attached", store_trouble: "" }), "");
  assert.equal(obstacleOf({ chrome: "gone", chrome_reason: "Chrome was closed.", store_trouble: "" }), "Chrome was closed.");
});

test("a rate is that of the last looks, and begins again with its counter", () => {
  const rate = new Rate(10_000);
  assert.equal(rate.look(0, 100), null);
  assert.equal(rate.look(2_000, 110), 5);
  assert.equal(rate.look(4_000, 3), null);
});

test("an indicator that goes on with a live price has what it has when begun anew", () => {
  const prices = Array.from({ length: 200 }, (_, i) => 1 + Math.sin(i) / 50 + (i % 7) / 300);
  for (const make of [() => new Sma(20), () => new Ema(20), () => new Rsi(14), () => new Bollinger(20)]) {
    const live = make();
    const grown = prices.slice(0, 60);
    live.update(grown, 0);
    for (let i = 60; i < prices.length; i += 1) {
      grown[i] = 5;
      live.update(grown, i);
      grown[i] = prices[i];
      live.update(grown, i);
    }
    const anew = make();
    anew.update(prices, 0);
    assert.deepEqual(live, anew);
  }
});

test("an indicator's name that is none makes none", () => {
  assert.equal(indicatorOf("sma0"), null);
  assert.equal(indicatorOf("macd12"), null);
  assert.equal(indicatorOf("bb20").length, 20);
});

test("time left, lengths, flags and zones in words", () => {
  assert.deepEqual([countdown(42_001), countdown(-5), countdown(3_723_000)], ["0:43", "0:00", "1:02:03"]);
  assert.deepEqual([durationText(45_000), durationText(7 * MINUTE), durationText(185 * MINUTE), durationText(3 * 86_400_000)], ["45 s", "7 min", "3 h 5 min", "3 d"]);
  assert.deepEqual(flagWords(2 | 8), ["blind for a part of it", "revised after it was published"]);
  assert.deepEqual([zoneOffsetMs("utc", 0, 5), zoneOffsetMs("platform", 0, 7_200_000), zoneOffsetMs("platform", 0, null)], [0, 7_200_000, 0]);
});

test("the four counters tell what left, what is kept, what was held back and what was answered", () => {
  const counters = { sent_candles: 10, sent_status: 5, dropped_candles: 2, answers: 7, requests: 8 };
  const streams = [{ latest_sequence: 30 }, { latest_sequence: 10 }];
  assert.deepEqual(counts({ counters, streams }), { published: 13, stored: 40, dropped: 2, served: 7 });
});

test("a batch that had to be fetched is a gap that healed, and each candle counts once", () => {
  const log = new ClientLog();
  log.take("snapshot", { candles: [row(1), row(2)], sequences: [1, 2] });
  log.take("candles", { sequence: 3, candles: [row(3)], backfill: false });
  log.take("candles", { sequence: 4, candles: [row(4), row(5)], backfill: true });
  assert.deepEqual(log.lines.map(({ kind, text }) => `${kind}: ${text}`), ["history: 2 fetched, up to #2", "gap: #4 to #5 did not arrive", "healed: 2 fetched while live candles arrived"]);
  assert.equal(log.candles, 5);
});

test("a state is told when it or its reason changes, and what is lost with its reason", () => {
  const log = new ClientLog();
  for (const reason of ["", "", "server up, no browser"]) log.take("state", { state: "stalled", reason, label: "Stale, 2.0s" });
  log.take("gap", { from_sequence: 5, to_sequence: 7, reason: "pruned" });
  log.take("reset", { reason: "the store is a new one" });
  log.take("revision", { candles: [row(1)] });
  assert.deepEqual(log.lines.map(({ text }) => text), ["Stale, 2.0s", "server up, no browser", "#5 to #7: pruned", "the store is a new one", "1 corrected"]);
});
