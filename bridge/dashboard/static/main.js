// The page: puts choices, feed, charts and the parts around them together.

import { Assets } from "./assets.js";
import { ChartView } from "./chart.js";
import { noChart, readChoices, toAddress, toMemory } from "./choices.js";
import { ask, Lease, olderCandles, Refused, send } from "./daemon.js";
import { Feed, REST_AFTER_MS } from "./feed.js";
import { changeText, countdown, dateTimeText, flagWords, intervalMs, zoneOffsetMs } from "./format.js";
import { blindAreas, csvText, Series } from "./series.js";
import { agreementOf, differingOf, figuresOf, HealthView, obstacleOf, Rate } from "./truth.js";
import { $, el, fillCards, fillDrawer, say, toast, Watchlist } from "./views.js";

const FIRST_CANDLES = 1_000;
const OLDER_CANDLES = 4_000;
const MOST_CANDLES = 20_000;
const KEPT_SERIES = 12;
const STATUS_MS = 2_000;
const STREAMS_MS = 10_000;
const ASSETS_MS = 15_000;
const GAPS_MS = 5_000;
const LOOK_MS = 250;
const LOST_AFTER_MS = 1_200;
const SPARK_CANDLES = 60;
const INDICATORS = [["sma20", "SMA 20"], ["sma50", "SMA 50"], ["ema20", "EMA 20"], ["ema50", "EMA 50"], ["bb20", "Bollinger 20, 2"], ["rsi14", "RSI 14"]];
const NO_DAEMON = "No fluxcap answers.";
const MEMORY = "fluxcap";
const HAS_DAEMON = document.documentElement.dataset.daemon === "yes";

/** One chart and all that belongs to it. */
class Cell {
  constructor(app, place) {
    this.app = app;
    this.place = place;
    this.stream = "";
    this.series = null;
    this.health = new HealthView(Date.now());
    this.lease = new Lease(`page-${app.holder}-${place}`);
    this.gaps = [];
    this.hover = null;
    this.isAsking = false;
    this.shownMs = 0;
    this.error = "";
    this.legend = el("div", { className: "legend", dataset: { test: place ? `legend-${place}` : "legend" } });
    this.title = el("span", { className: "legend-title" });
    this.prices = el("span", { className: "legend-prices" });
    this.words = el("span", { className: "legend-words" });
    this.lines = el("span", { className: "legend-lines" });
    this.legend.append(this.title, this.prices, this.words, this.lines);
    this.overlay = el("div", { className: "overlay", dataset: { test: place ? `overlay-${place}` : "overlay" } });
    this.banner = el("div", { className: "banner", hidden: true, role: "status", dataset: { test: place ? `banner-${place}` : "banner" } });
    this.host = el("div", { className: "plot" });
    this.node = el("div", { className: "cell", role: "group" }, this.host, this.legend, this.overlay, this.banner);
    this.node.addEventListener("pointerdown", () => app.activate(place));
    app.charts.append(this.node);
    this.chart = new ChartView(this.host, {
      onHover: (row, tsMs, isOwn) => {
        this.hover = tsMs === null ? null : { row, tsMs };
        this.showLegend();
        if (isOwn) app.pointAt(this, tsMs);
      },
      onRange: () => app.rangeMoved(),
      onOlder: () => this.loadOlder(),
    });
    this.host.fluxcap = this.chart; // for tests and the console
    this.chart.setDark(app.isDark);
    this.chart.setLog(app.choices.log);
    this.chart.setIndicators(app.choices.indicators);
  }

  get choice() {
    return this.app.choices.charts[this.place];
  }

  /** "SOURCE.SYMBOL.INTERVAL", as the daemon calls the stream. */
  get streamId() {
    return this.stream.replaceAll("/", ".");
  }

  close() {
    this.lease.release();
    this.chart.close();
    this.node.remove();
  }

  /** Show a live stream; "": none. Known candles are drawn at once. */
  showStream(stream) {
    if (stream === this.stream && this.series) return;
    this.stream = stream;
    this.error = "";
    this.gaps = [];
    this.health = new HealthView(Date.now());
    const known = this.app.known.get(stream);
    this.series = known ?? new Series(intervalMs(stream.split("/").pop()) || 60_000);
    this.series.forming = null;
    this.isFresh = Boolean(known);
    this.chart.show(this.series, this.choice);
    this.app.noteState(this);
    this.loadGaps();
  }

  showRows(rows, stepMs) {
    this.stream = "";
    this.gaps = [];
    this.series = new Series(stepMs);
    this.series.rows = rows;
    this.series.hasOlder = false;
    this.chart.show(this.series, this.choice);
  }

  clear() {
    this.stream = "";
    this.gaps = [];
    this.series = new Series(60_000);
    this.series.hasOlder = false;
    this.chart.show(this.series);
  }

  /** What the feed tells of this chart's stream. */
  take(kind, data) {
    const { series, chart } = this;
    const now = Date.now();
    switch (kind) {
      case "snapshot":
        series.snapshot(data.candles, data.sequences, data.store_id, FIRST_CANDLES);
        this.app.keep(this.stream, series);
        if (this.isFresh) chart.drawAll();
        else chart.show(series, this.choice);
        this.isFresh = true;
        this.noteGaps();
        this.fillUp();
        break;
      case "reset":
        series.reset();
        chart.drawAll();
        break;
      case "candles":
        chart.draw(series.append(data.sequence, data.candles));
        break;
      case "revision":
        chart.draw(series.revise(data.candles));
        break;
      case "forming":
        this.health.tick(now);
        if (this.app.obstacle() || !series.setForming(data.candle)) return;
        chart.draw(series.rows.length);
        break;
      case "state":
        this.health.set(data, now);
        break;
      default:
        return;
    }
    this.shownMs = now;
    this.showLegend();
  }

  /** More of the past as soon as the newest candles stand there, so that one can go back without waiting. */
  async fillUp() {
    await new Promise((done) => setTimeout(done, 400));
    if (this.series.rows.length && this.series.rows.length < FIRST_CANDLES + OLDER_CANDLES) this.loadOlder();
  }

  async loadOlder() {
    const { series, stream } = this;
    if (this.isAsking || !stream || !series.hasOlder || !series.rows.length || series.rows.length >= MOST_CANDLES) return;
    this.isAsking = true;
    try {
      const { rows, hasMore } = await olderCandles(stream, series.firstMs, OLDER_CANDLES);
      series.prepend(rows, hasMore && rows.length > 0);
      if (this.series === series) this.chart.drawAll();
      this.noteGaps();
    } catch {
      series.hasOlder = false;
    } finally {
      this.isAsking = false;
    }
  }

  /** Put a time into the middle, reading back as far as that. */
  async jump(tsMs) {
    for (let tries = 0; tries < 5 && this.stream && this.series.hasOlder && this.series.firstMs > tsMs; tries += 1) {
      while (this.isAsking) await new Promise((done) => setTimeout(done, 30));
      await this.loadOlder();
    }
    if (this.series.firstMs > tsMs) toast("There are no candles of that time; these are the oldest.");
    this.chart.jump(Math.max(tsMs, this.series.firstMs));
  }

  async loadGaps() {
    const { stream } = this;
    if (!stream || !HAS_DAEMON) return;
    const { source, symbol } = this.app.assets.meant(this.choice.asset);
    const query = new URLSearchParams({ source, symbol, from_ms: this.series.firstMs });
    try {
      const gaps = await ask(`/api/gaps?${query}`);
      if (this.stream !== stream) return;
      this.gaps = gaps;
      this.noteGaps();
    } catch {
      // The bar below says that the daemon is not there.
    }
  }

  noteGaps() {
    const { series } = this;
    if (!series?.rows.length) return;
    const areas = blindAreas(this.gaps, series.firstMs, Math.max(series.last[0] + series.stepMs, Date.now()));
    this.chart.note(areas, differingOf(this.app.status, this.streamId));
  }

  showLegend() {
    const { series, chart } = this;
    const row = this.hover ? this.hover.row : series?.last;
    say(this.title, `${this.app.nameOf(this)} · ${this.app.timeframeOf(this)}`);
    const tsMs = this.hover?.tsMs ?? row?.[0] ?? null;
    const parts = [];
    const words = [];
    if (row) {
      const [ts, open, high, low, close, volume, ticks, flags] = row;
      const text = (price) => price.toFixed(chart.digits);
      const previous = series.rows[series.placeOf(ts - 1)];
      parts.push(["", dateTimeText(this.app.wordsMs(ts))], ["O", text(open)], ["H", text(high)], ["L", text(low)], ["C", text(close)], ["", changeText(previous?.[4] ?? open, close)]);
      parts.push(["Vol", String(volume)]);
      if (ticks && ticks !== volume) parts.push(["ticks", String(ticks)]);
      if (row === series.forming) words.push("under way");
      words.push(...flagWords(flags));
      const theirs = chart.differing.get(ts);
      if (theirs) words.push(`differs from the platform's ${theirs.map(text).join(" ")}`);
    }
    const area = tsMs === null ? null : chart.areas.find(({ from, to }) => from < tsMs + series.stepMs && to > tsMs);
    if (area && this.hover) words.push(`not seen${area.reason ? `: ${area.reason}` : ""}`);
    this.prices.replaceChildren(...parts.map(([name, value]) => el("span", {}, name ? el("i", {}, name) : "", value)));
    this.prices.classList.toggle("down", Boolean(row && row[4] < row[1]));
    say(this.words, words.join(" · "));
    this.lines.replaceChildren(...chart.indicatorsAt(this.hover?.tsMs ?? null).map(({ name, colour, values, digits }) => el("span", {}, el("i", { style: `background:${colour}` }), `${name} ${values.map((value) => value.toFixed(digits)).join(" ")}`)));
  }

  say(title, text = "", isBusy = false) {
    this.overlay.hidden = !title;
    if (!title) return;
    const wanted = [title, text, isBusy].join("|");
    if (this.overlay.dataset.says === wanted) return;
    this.overlay.dataset.says = wanted;
    this.overlay.replaceChildren(...(isBusy ? [el("span", { className: "spinner" })] : []), el("b", {}, title), ...(text ? [el("span", {}, text)] : []));
  }
}

class App {
  constructor() {
    this.holder = crypto.getRandomValues(new Uint32Array(2)).join("");
    this.choices = readChoices(location.search, storage());
    this.isDark = document.documentElement.dataset.theme === "dark";
    this.assets = new Assets();
    this.status = null;
    this.statusError = "";
    this.files = null;
    this.known = new Map();
    this.cells = [];
    this.charts = $("charts");
    this.search = "";
    this.rate = new Rate();
    this.rateOf = "";
    this.rateNow = null;
    this.sparksAsked = new Map();
    this.sparkQueue = Promise.resolve();
    this.due = {};
    this.lostTimer = null;
    this.aheadMs = 0;
    this.feed = new Feed((kind, data) => this.take(kind, data), (isLost) => this.lost(isLost));
    this.watchlist = new Watchlist({ onChoose: (id) => this.chooseAsset(id), onStar: (id) => this.star(id), onSpark: (id) => this.askSpark(id) });
    this.connect();
    this.layOut();
    this.look();
    setInterval(() => this.look(), LOOK_MS);
  }

  get active() {
    return this.cells[this.choices.active] ?? this.cells[0];
  }

  wordsMs(tsMs) {
    return tsMs + zoneOffsetMs(this.choices.zone, tsMs, this.status?.platform_offset_ms);
  }

  nameOf(cell) {
    return this.choices.source === "csv" ? cell.choice.asset : this.assets.nameOf(cell.choice.asset);
  }

  timeframeOf(cell) {
    return this.choices.source === "csv" ? cell.choice.tf : cell.stream.split("/").pop();
  }

  /** Why the chart cannot be live at all; "" when it can. */
  obstacle() {
    if (this.isLost) return NO_DAEMON;
    return HAS_DAEMON ? this.statusError || obstacleOf(this.status) : "";
  }

  // --- what is asked -------------------------------------------------------------------------------------------------

  /** Whether something is due; it is next due after so long. */
  isDue(what, everyMs) {
    const now = Date.now();
    if (now < (this.due[what] ?? 0)) return false;
    this.due[what] = now + everyMs;
    return true;
  }

  /** Four times a second: ask what is due, and bring all words up to date. */
  look() {
    const isSeen = !document.hidden;
    if (isSeen) this.feed.wake();
    if (HAS_DAEMON && this.isDue("status", isSeen ? STATUS_MS : 30_000)) this.askStatus();
    if (isSeen && this.choices.source !== "csv" && this.isDue("streams", STREAMS_MS)) this.askStreams();
    if (isSeen && HAS_DAEMON && this.isDue("assets", this.assets.listed.size ? ASSETS_MS : 2_000)) this.askAssets();
    if (isSeen && !this.choices.source && this.isDue("files", 10_000)) this.askFiles();
    if (isSeen && this.choices.source === "platform" && this.isDue("gaps", GAPS_MS)) for (const cell of this.cells) cell.loadGaps();
    this.renewLeases();
    if (isSeen) this.refresh();
  }

  async askStatus() {
    try {
      this.status = await ask("/api/status");
      this.statusError = "";
      this.aheadMs = this.status.server_time_ms - Date.now();
      this.assets.setStatus(this.status);
    } catch (error) {
      this.statusError = error instanceof Refused ? error.message : NO_DAEMON;
    }
    this.follow();
    this.settle();
    for (const cell of this.cells) cell.noteGaps();
  }

  async askStreams() {
    try {
      this.assets.setStreams((await ask("/api/streams")).streams);
      this.streamsKnown = true;
      this.settle();
    } catch {
      // The feed says that nobody is there.
    }
  }

  async askAssets() {
    try {
      this.assets.setListed(await ask("/api/assets"));
    } catch {
      // As above.
    }
  }

  async askFiles() {
    try {
      this.files = (await ask("/api/available-csv-files")).files.map((file) => ({ ...file, symbol: file.symbol ?? file.asset, isTick: file.timeframe === "tick" || file.kind === "tick" }));
      this.files.sort((a, b) => (a.filename < b.filename ? 1 : -1));
    } catch (error) {
      this.files ??= [];
      if (this.choices.source === "csv" && error instanceof Refused) toast(error.message, "bad");
    }
  }

  /** Spark lines one after the other, of rows that are seen. */
  askSpark(id) {
    const now = Date.now();
    if (now - (this.sparksAsked.get(id) ?? 0) < 60_000) return;
    const stream = this.assets.streamOf(id, this.assets.base);
    if (!this.assets.streams.has(stream)) return;
    this.sparksAsked.set(id, now);
    this.sparkQueue = this.sparkQueue.then(async () => {
      try {
        const query = new URLSearchParams({ stream, limit: SPARK_CANDLES, newest: true });
        const { candles } = await ask(`/api/candles?${query}`);
        this.assets.sparks.set(id, candles.map((row) => row[4]));
      } catch {
        this.sparksAsked.delete(id);
      }
    });
  }

  renewLeases() {
    const now = Date.now();
    const isHolding = HAS_DAEMON && this.choices.source === "platform" && !this.choices.follow && !this.obstacle();
    for (const cell of this.cells) {
      const { source, symbol } = this.assets.meant(cell.choice.asset);
      cell.lease.hold(isHolding && cell.choice.asset && source === this.assets.source ? symbol : "", now);
    }
  }

  // --- the feed ------------------------------------------------------------------------------------------------------

  listen() {
    if (this.choices.source === "csv") {
      this.feed.close();
      return;
    }
    const streams = this.choices.source ? [...new Set(this.cells.map((cell) => cell.stream).filter(Boolean))] : [];
    // The source's name may hold what an address may not; a pattern of it would then mean others.
    const watch = this.streamsKnown || this.status ? [`*/*/${this.assets.base}`] : [];
    this.feed.open(streams, watch, FIRST_CANDLES);
  }

  take(kind, data) {
    if (kind === "prices") {
      this.assets.setPrices(data);
      const now = Date.now();
      for (const stream of Object.keys(data)) for (const cell of this.cells) if (isBaseOf(stream, cell.stream)) cell.health.tick(now);
      return;
    }
    if (kind === "state") this.assets.setState(data, Date.now());
    if (kind === "start") {
      for (const cell of this.cells) cell.health.wasConnected = true;
      return;
    }
    if (kind === "ready") {
      for (const cell of this.cells) if (cell.stream) cell.isFresh = true;
      return;
    }
    for (const cell of this.cells) if (data.stream && data.stream === cell.stream) cell.take(kind, data);
    if (kind === "snapshot") this.refresh();
  }

  lost(isLost) {
    clearTimeout(this.lostTimer);
    const tell = () => {
      this.isLost = isLost;
      for (const cell of this.cells) {
        if (isLost) cell.health.lose(NO_DAEMON);
        else cell.health.lost = "";
      }
      this.refresh();
    };
    // A server that starts its feed over is back within a second.
    if (isLost) this.lostTimer = setTimeout(tell, LOST_AFTER_MS);
    else tell();
  }

  keep(stream, series) {
    this.known.delete(stream);
    this.known.set(stream, series);
    if (this.known.size > KEPT_SERIES) this.known.delete(this.known.keys().next().value);
  }

  /** A chart turned to a stream of which the watchlist knows the state. */
  noteState(cell) {
    const state = this.assets.states.get(cell.stream);
    if (state && !this.isLost) cell.health.set({ ...state, age_ms: state.age_ms === null ? null : state.age_ms + Date.now() - state.atMs }, Date.now());
    if (this.isLost) cell.health.lose(NO_DAEMON);
  }

  // --- what the user chooses -----------------------------------------------------------------------------------------

  /** Carry out the choices: charts, streams, feed, address. */
  settle() {
    const { choices } = this;
    while (this.cells.length < choices.grid) this.cells.push(new Cell(this, this.cells.length));
    while (this.cells.length > choices.grid) this.cells.pop().close();
    while (choices.charts.length < choices.grid) choices.charts.push({ ...choices.charts[0], bars: 0, to: 0 });
    choices.active = Math.min(choices.active, choices.grid - 1);
    this.markActive();
    if (choices.source === "platform") {
      for (const cell of this.cells) {
        const { asset, tf } = cell.choice;
        if (!asset || !this.assets.source) continue;
        const known = this.assets.timeframes(asset);
        const interval = tf && (known.includes(tf) || !this.streamsKnown) ? tf : this.assets.base;
        cell.showStream(this.assets.streamOf(asset, interval));
      }
    }
    this.listen();
    this.remember();
  }

  remember() {
    const address = toAddress(this.choices) || location.pathname;
    if (address !== location.search && address !== location.pathname + location.search) history.replaceState(null, "", address);
    try {
      localStorage.setItem(MEMORY, toMemory({ ...this.choices, theme: this.isDark ? "dark" : "light" }));
    } catch {
      // A browser may forbid it; the address has it all the same.
    }
  }

  chooseSource(source) {
    const { choices } = this;
    const before = choices.source;
    choices.source = source;
    choices.follow = false;
    const assets = choices.charts.map((chart) => chart.asset);
    if (source !== before) choices.charts = choices.charts.map(() => noChart());
    for (const cell of this.cells) {
      cell.lease.release();
      cell.clear();
    }
    if (source === "platform") {
      const isKept = assets[0] && this.assets.isKnown(assets[0]);
      const asset = isKept ? assets[0] : this.first();
      if (assets[0] && !isKept) toast(`${assets[0]} is not on the platform; this is what its page shows.`, "warn");
      choices.charts[0].asset = asset;
      this.settle();
    } else this.openFiles(assets[0]);
    this.layOut();
  }

  /** The asset to begin with: what the trading page shows, else what is in focus, else what ticks. */
  first() {
    const { status } = this;
    return status?.detected_asset || status?.focus_symbols?.[0] || status?.assets?.[0]?.symbol || [...this.assets.streams.values()].map((row) => this.assets.idOf(row.source, row.symbol))[0] || "";
  }

  chooseAsset(id) {
    this.choices.follow = false;
    this.turn(id);
  }

  turn(id) {
    const cell = this.active;
    Object.assign(cell.choice, { asset: id, to: 0 });
    if (this.choices.source === "csv") {
      cell.choice.file = "";
      this.openFile();
    } else this.settle();
    this.layOut();
    this.refresh();
    if (matchMedia("(max-width: 640px)").matches && this.choices.list) {
      this.choices.list = false;
      this.layOut();
    }
  }

  /** The trading page's own asset, while it is followed. */
  follow() {
    if (this.choices.source !== "platform" || !this.status) return;
    if (!this.active?.choice.asset || this.choices.follow) {
      const asset = this.choices.follow ? this.status.detected_asset : this.first();
      if (asset && asset !== this.active.choice.asset) this.turn(asset);
    }
  }

  chooseTimeframe(interval) {
    const { choice } = this.active;
    Object.assign(choice, { tf: interval, to: 0, bars: 0 });
    if (this.choices.source === "csv") this.openFile();
    else this.settle();
    this.layOut();
    this.refresh();
  }

  star(id) {
    const { favourites } = this.choices;
    this.choices.favourites = favourites.includes(id) ? favourites.filter((one) => one !== id) : [...favourites, id];
    this.remember();
    this.refresh();
  }

  activate(place) {
    if (this.choices.active === place) return;
    this.choices.active = place;
    this.layOut();
    this.refresh();
  }

  pointAt(from, tsMs) {
    for (const cell of this.cells) if (cell !== from) cell.chart.pointAt(tsMs);
  }

  rangeMoved() {
    clearTimeout(this.rangeTimer);
    this.rangeTimer = setTimeout(() => {
      for (const cell of this.cells) if (cell.series?.rows.length) Object.assign(cell.choice, cell.chart.seen());
      this.remember();
    }, 400);
  }

  setTheme(isDark) {
    this.isDark = isDark;
    this.choices.theme = isDark ? "dark" : "light";
    document.documentElement.dataset.theme = this.choices.theme;
    for (const cell of this.cells) cell.chart.setDark(isDark);
    this.remember();
  }

  setLog(isLog) {
    this.choices.log = isLog;
    for (const cell of this.cells) cell.chart.setLog(isLog);
    this.layOut();
    this.remember();
  }

  setIndicator(name, isOn) {
    const others = this.choices.indicators.filter((one) => one !== name);
    this.choices.indicators = isOn ? [...others, name] : others;
    for (const cell of this.cells) {
      cell.chart.setIndicators(this.choices.indicators);
      cell.showLegend();
    }
    this.remember();
  }

  setZone(zone) {
    this.choices.zone = zone;
    this.refresh();
    this.remember();
  }

  setGrid(grid) {
    this.choices.grid = grid;
    this.settle();
    for (const cell of this.cells) if (this.choices.source === "csv") this.openFile(cell);
    this.layOut();
    this.refresh();
  }

  toggleList(isOn = !this.choices.list) {
    this.choices.list = isOn;
    this.layOut();
    this.remember();
    this.refresh();
  }

  // --- collected files -----------------------------------------------------------------------------------------------

  async openFiles(asset) {
    await this.askFiles();
    if (this.choices.source !== "csv") return;
    const known = new Set(this.files.map((file) => file.symbol));
    const { choice } = this.active;
    choice.asset ||= asset && known.has(asset) ? asset : "";
    if (asset && !choice.asset) toast(`${asset} is not in the collected files; choose another asset.`, "warn");
    for (const cell of this.cells) this.openFile(cell);
    this.layOut();
    this.refresh();
  }

  filesOf(asset) {
    return (this.files ?? []).filter((file) => file.symbol === asset);
  }

  async openFile(cell = this.active) {
    const { choice } = cell;
    const files = this.filesOf(choice.asset);
    const file = files.find((one) => one.path === choice.file) ?? files[0];
    choice.file = file?.path ?? "";
    cell.error = "";
    if (!file) {
      cell.clear();
      return;
    }
    cell.file = null;
    try {
      const query = new URLSearchParams({ file: file.path, timeframe: choice.tf, kind: file.isTick ? "tick" : file.timeframe || "1m" });
      const found = await ask(`/api/csv-candles?${query}`);
      if (choice.file !== file.path || this.choices.source !== "csv") return;
      choice.tf = found.timeframe;
      cell.file = found;
      cell.showRows(found.candles, intervalMs(found.timeframe));
    } catch (error) {
      cell.clear();
      cell.error = error instanceof Refused ? error.message : NO_DAEMON;
    }
    this.remember();
    this.layOut();
    cell.showLegend();
    this.refresh();
  }

  csvRows() {
    const byAsset = new Map();
    for (const file of this.files ?? []) byAsset.set(file.symbol, (byAsset.get(file.symbol) ?? 0) + 1);
    const wanted = this.search.toUpperCase().replace(/[^A-Z0-9]/g, "");
    return [...byAsset]
      .filter(([symbol]) => symbol.toUpperCase().replace(/[^A-Z0-9]/g, "").includes(wanted))
      .map(([symbol]) => ({ id: symbol, name: symbol, price: null, payout: null, isFavourite: this.choices.favourites.includes(symbol), state: "", reason: "" }))
      .sort((a, b) => b.isFavourite - a.isFavourite || a.name.localeCompare(b.name));
  }

  // --- words ---------------------------------------------------------------------------------------------------------

  /** What changes only when something is chosen. */
  layOut() {
    const { choices } = this;
    const cell = this.active;
    $("start").hidden = Boolean(choices.source);
    $("charts").hidden = !choices.source;
    $("charts").dataset.grid = choices.grid;
    $("tools").hidden = $("asset").hidden = !choices.source;
    $("watch").hidden = !choices.source || !choices.list;
    $("asset").setAttribute("aria-expanded", String(choices.list));
    $("follow").checked = choices.follow;
    $("follow-label").hidden = choices.source !== "platform" || !HAS_DAEMON;
    $("log").checked = choices.log;
    $("zone").value = choices.zone;
    $("grid").value = choices.grid;
    for (const box of $("indicators").querySelectorAll("input")) box.checked = choices.indicators.includes(box.value);
    this.markActive();
    const isCsv = choices.source === "csv";
    $("file-label").hidden = !isCsv || this.filesOf(cell?.choice.asset).length < 2;
    if (isCsv && cell) {
      $("file").replaceChildren(...this.filesOf(cell.choice.asset).map((file) => el("option", { value: file.path, selected: file.path === cell.choice.file }, `${file.isTick ? "tick" : file.timeframe} ${file.filename.replace(/\.csv$/, "").slice(file.symbol.length + 1)}`)));
    }
  }

  markActive() {
    const { grid, active } = this.choices;
    this.cells.forEach((one, place) => one.node.classList.toggle("active", grid > 1 && place === active));
  }

  /** All that moves with time. */
  refresh() {
    const { choices, status } = this;
    $("truth").hidden = !choices.source && !this.obstacle();
    if (!choices.source) {
      this.showCards();
      this.showTruth(null);
      return;
    }
    const isCsv = choices.source === "csv";
    for (const cell of this.cells) this.refreshCell(cell, isCsv);
    const cell = this.active;
    if (!cell) return;
    const { asset } = cell.choice;
    say($("asset-name"), asset ? this.nameOf(cell) : "Choose an asset");
    const payout = isCsv || !asset ? null : this.assets.payoutOf(asset);
    say($("asset-note"), payout === null ? "" : `${payout}%`);
    this.showTimeframes(cell, isCsv);
    if (choices.list) this.watchlist.show(isCsv ? this.csvRows() : this.assets.rows(this.search, choices.favourites), asset, this.assets.sparks);
    if (choices.list && !isCsv) for (const id of this.watchlist.ids().slice(0, 60)) this.isSparkDue(id);
    this.showTruth(isCsv ? null : cell);
    const last = cell.series?.last;
    const name = asset ? this.nameOf(cell) : "";
    const title = asset && last && !isCsv ? `${last[4].toFixed(cell.chart.digits)} ${name}` : name || "fluxcap";
    if (document.title !== title) document.title = title;
    if (!$("drawer").hidden && this.isDue("drawer", 1_000)) this.showDrawer(cell, status);
  }

  isSparkDue(id) {
    if (!this.assets.sparks.has(id)) this.askSpark(id);
  }

  refreshCell(cell, isCsv) {
    const { choice, series } = cell;
    const offset = this.status?.platform_offset_ms ?? null;
    cell.chart.setZone(this.choices.zone, offset);
    const hasRows = Boolean(series?.rows.length || series?.forming);
    if (isCsv) {
      const isReading = Boolean(choice.file && !cell.file && !cell.error);
      if (cell.error) cell.say("This file cannot be shown", cell.error);
      else if (this.files && !this.files.length) cell.say("No collected files", "Switch collecting on, or run fluxcap collect.");
      else if (isReading) cell.say("Reading the file", choice.file.split(/[/\\]/).pop(), true);
      else if (!choice.asset) cell.say("Choose an asset", "Collected candles have every timeframe from their own on.");
      else if (!hasRows) cell.say("This file holds no candles");
      else cell.say("");
      cell.banner.hidden = true;
      cell.chart.setCountdown("");
      return;
    }
    const obstacle = this.obstacle() || cell.lease.error;
    const health = cell.health.now(Date.now());
    const isUnknown = choice.asset && !this.obstacle() && this.streamsKnown && this.assets.listed.size && !this.assets.isKnown(choice.asset);
    const why = isUnknown ? `The platform has no asset ${choice.asset}.` : obstacle;
    if (why) cell.chart.endLive();
    if (!choice.asset) cell.say(obstacle || "Choose an asset", obstacle ? "This page goes on by itself." : this.choices.follow ? "The trading page has not shown its asset yet; click on one there." : "Live candles start immediately.");
    else if (hasRows) cell.say("");
    else if (why) cell.say("Not live", why);
    else if (!cell.isFresh) cell.say("Loading candles", "", true);
    else cell.say("No candle yet", health.reason && health.state !== "receiving" ? `${capital(health.reason)}. ${health.todo}` : `Waiting for the first ${this.timeframeOf(cell)} candle.`, true);
    cell.banner.hidden = !(why && hasRows);
    if (!cell.banner.hidden) say(cell.banner, `Not live. ${why}${isUnknown ? "" : " It goes on by itself."}`);
    const forming = series?.forming;
    cell.chart.setCountdown(forming ? countdown(forming[0] + series.stepMs - this.serverNow()) : "");
    if (!cell.hover) cell.showLegend();
  }

  /** The daemon's clock, as far as its last status tells. */
  serverNow() {
    return Date.now() + this.aheadMs;
  }

  showTimeframes(cell, isCsv) {
    const group = $("timeframes");
    const known = isCsv ? cell.file?.timeframes ?? [] : cell.choice.asset ? this.assets.timeframes(cell.choice.asset) : [];
    const chosen = this.timeframeOf(cell);
    const wanted = `${known.join()}|${chosen}`;
    if (group.dataset.shows === wanted) return;
    group.dataset.shows = wanted;
    group.replaceChildren(...known.map((interval) => el("button", { ariaPressed: String(interval === chosen), onclick: () => this.chooseTimeframe(interval), title: `Candles of ${interval}` }, interval)));
  }

  showTruth(cell) {
    const isCsv = this.choices.source === "csv";
    let view = { dot: "off", label: isCsv ? "Collected file" : "Off", reason: "", todo: "" };
    const obstacle = this.obstacle();
    if (cell?.choice.asset) view = cell.health.now(Date.now());
    else if (obstacle) view = { dot: "bad", label: "Disconnected", reason: obstacle, todo: "" };
    if (cell && obstacle && view.state === "receiving") view = { ...view, dot: "bad", label: "Stale", reason: obstacle };
    if (cell && !view.todo && this.status?.no_candles && view.state !== "receiving" && !view.reason.includes("quiet")) view = { ...view, todo: this.status.no_candles };
    $("dot").className = `dot ${view.dot}`;
    say($("label"), view.label);
    say($("reason"), view.reason);
    say($("todo"), view.todo);
    const agreement = cell ? agreementOf(this.status, cell.streamId) : null;
    say($("fact-agreement"), agreement?.text ?? "-");
    $("agreement-figure").classList.toggle("bad", agreement !== null && !agreement.isWhole);
    const symbol = cell ? this.assets.meant(cell.choice.asset).symbol : "";
    const asset = this.status?.assets?.find((one) => one.symbol === symbol);
    if (this.rateOf !== symbol) {
      this.rate = new Rate();
      this.rateNow = null;
      this.rateOf = symbol;
    }
    if (asset && this.rateAt !== this.status.server_time_ms) {
      this.rateAt = this.status.server_time_ms;
      this.rateNow = this.rate.look(this.status.server_time_ms, asset.ticks);
    }
    const forming = cell?.series?.forming;
    const nextMs = forming ? forming[0] + cell.series.stepMs - this.serverNow() : null;
    const figures = cell ? figuresOf(this.status, cell.series, cell.streamId, this.rateNow, nextMs) : [];
    const node = $("figures");
    if (node.childElementCount !== figures.length) node.replaceChildren(...figures.map(([name]) => el("span", { className: "figure" }, el("span", { className: "soft" }, name), " ", el("span", { dataset: { test: `fact-${name.replace(" ", "-")}` } }))));
    figures.forEach(([, value], place) => say(node.children[place].lastElementChild, value));
  }

  showCards() {
    const { status, assets } = this;
    const asset = status?.detected_asset || status?.focus_symbols?.[0] || (HAS_DAEMON ? "" : this.first());
    const one = status?.assets?.find((found) => found.symbol === asset);
    const { state, reason } = asset ? assets.stateOf(asset) : { state: "", reason: "" };
    fillCards({
      asset,
      name: asset ? assets.nameOf(asset) : "",
      price: asset ? assets.priceOf(asset) : null,
      state,
      reason: obstacleOf(status) || reason || status?.no_candles || "",
      ageMs: one?.last_tick_ts_ms && !obstacleOf(status) ? Math.max(0, status.server_time_ms - one.last_tick_ts_ms) : null,
      lostText: HAS_DAEMON && this.statusError ? this.statusError : "",
      files: this.files,
    });
  }

  showDrawer(cell, status) {
    const isLive = this.choices.source === "platform";
    fillDrawer({
      gaps: cell.gaps,
      rows: cell.series?.rows ?? [],
      differing: cell.chart.differing,
      agreement: agreementOf(status, cell.streamId),
      status,
      digits: cell.chart.digits,
      wordsMs: (ms) => this.wordsMs(ms),
      nowMs: Date.now(),
    });
    $("reload").disabled = !HAS_DAEMON || !isLive || Boolean(this.statusError);
    $("collect").disabled = !HAS_DAEMON || !status || Boolean(this.statusError);
    const mode = status?.collect?.mode ?? status?.collect;
    if (mode && document.activeElement !== $("collect")) $("collect").value = mode;
  }

  // --- what is clicked and typed -------------------------------------------------------------------------------------

  connect() {
    const on = (name, kind, handle) => $(name).addEventListener(kind, handle);
    on("home", "click", () => {
      for (const cell of this.cells) {
        cell.lease.release();
        cell.clear();
      }
      this.choices.source = "";
      history.replaceState(null, "", location.pathname);
      this.listen();
      this.due.files = 0;
      this.layOut();
      this.refresh();
    });
    on("card-live", "click", () => this.chooseSource("platform"));
    on("card-csv", "click", () => this.chooseSource("csv"));
    on("asset", "click", () => this.toggleList());
    on("search", "input", () => {
      this.search = $("search").value;
      this.refresh();
    });
    on("search", "keydown", (event) => {
      if (event.key === "Enter" && this.watchlist.ids().length) this.chooseAsset(this.watchlist.ids()[0]);
      if (event.key === "Escape") {
        $("search").value = this.search = "";
        $("search").blur();
        this.refresh();
      }
    });
    on("file", "change", () => {
      Object.assign(this.active.choice, { file: $("file").value, tf: "" });
      this.openFile();
    });
    on("follow", "change", () => {
      this.choices.follow = $("follow").checked;
      this.renewLeases();
      this.follow();
      this.remember();
    });
    on("log", "change", () => this.setLog($("log").checked));
    on("zone", "change", () => this.setZone($("zone").value));
    on("grid", "change", () => this.setGrid(Number($("grid").value)));
    on("theme", "click", () => this.setTheme(!this.isDark));
    on("live", "click", () => this.active.chart.live());
    on("png", "click", () => this.savePicture());
    on("csv", "click", () => this.saveCsv());
    on("jump-form", "submit", (event) => {
      event.preventDefault();
      const shown = Date.parse(`${$("jump").value}Z`);
      if (Number.isFinite(shown)) this.active.jump(shown - zoneOffsetMs(this.choices.zone, shown, this.status?.platform_offset_ms));
      closeMenus();
    });
    $("indicators").append(...INDICATORS.map(([name, words]) => el("label", { className: "check" }, el("input", { type: "checkbox", value: name, onchange: (event) => this.setIndicator(name, event.target.checked) }), ` ${words}`)));
    on("help", "click", () => $("help-dialog").showModal());
    on("more", "click", () => this.toggleDrawer());
    on("drawer-close", "click", () => this.toggleDrawer(false));
    on("reload", "click", () => this.confirm("Reload the trading page in Chrome? The feed is blind for some seconds; the time is recorded as a gap.", async () => {
      const { pages } = await send("POST", "/api/reload");
      toast(pages === 1 ? "The trading page is being reloaded." : `${pages} pages are being reloaded.`);
    }));
    on("collect", "change", () => {
      const mode = $("collect").value;
      $("collect").blur();
      const before = this.status?.collect?.mode ?? this.status?.collect;
      this.confirm(mode === "none" ? "Stop writing CSV files?" : `Write ${mode === "both" ? "ticks and candles" : `${mode}s`} into CSV files from now on?`, async () => {
        await send("PUT", "/api/collect-mode", { mode });
        this.due.status = 0;
      }, () => {
        $("collect").value = before;
      });
    });
    document.addEventListener("click", (event) => {
      for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
    });
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("visibilitychange", () => {
      clearTimeout(this.restTimer);
      if (document.hidden) this.restTimer = setTimeout(() => this.feed.rest(), REST_AFTER_MS);
      else {
        for (const what of ["status", "streams", "gaps"]) this.due[what] = 0;
        this.look();
      }
    });
    addEventListener("pagehide", () => {
      for (const cell of this.cells) cell.lease.release();
      this.feed.rest();
    });
    addEventListener("pageshow", (event) => {
      if (event.persisted) this.look();
    });
  }

  confirm(words, then, otherwise = () => {}) {
    const dialog = $("confirm");
    say($("confirm-text"), words);
    dialog.returnValue = "";
    dialog.onclose = async () => {
      if (dialog.returnValue !== "yes") {
        otherwise();
        return;
      }
      try {
        await then();
      } catch (error) {
        toast(error instanceof Refused ? error.message : NO_DAEMON, "bad");
        otherwise();
      }
    };
    dialog.showModal();
  }

  toggleDrawer(isOpen = $("drawer").hidden) {
    $("drawer").hidden = !isOpen;
    $("more").setAttribute("aria-expanded", String(isOpen));
    this.due.drawer = 0;
    if (isOpen && this.active) this.showDrawer(this.active, this.status);
  }

  savePicture() {
    const canvas = this.active.chart.picture();
    const context = canvas.getContext("2d");
    const scale = canvas.width / this.active.host.clientWidth;
    context.font = `${12 * scale}px system-ui, sans-serif`;
    context.fillStyle = this.active.chart.colours.note;
    context.fillText(`${this.nameOf(this.active)} · ${this.timeframeOf(this.active)} · ${dateTimeText(this.wordsMs(this.active.series.last?.[0] ?? Date.now()))} · fluxcap`, 10 * scale, 18 * scale);
    canvas.toBlob((blob) => this.save(blob, "png"));
  }

  saveCsv() {
    this.save(new Blob([csvText(this.active.chart.visibleRows())], { type: "text/csv" }), "csv");
  }

  save(blob, ending) {
    const { asset } = this.active.choice;
    const link = el("a", { href: URL.createObjectURL(blob), download: `${asset}_${this.timeframeOf(this.active)}.${ending}`.replaceAll(/[/:]/g, "_") });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    closeMenus();
  }

  key(event) {
    const isTyping = event.target.closest?.("input:not([type=checkbox]), select, textarea");
    if (event.key === "Escape") {
      closeMenus();
      if (!document.querySelector("dialog[open]")) this.toggleDrawer(false);
    }
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const { chart } = this.active ?? {};
    const act = {
      "/": () => {
        this.toggleList(true);
        $("search").focus();
      },
      "?": () => $("help-dialog").showModal(),
      t: () => this.setTheme(!this.isDark),
      d: () => this.toggleDrawer(),
    };
    if (this.choices.source) {
      Object.assign(act, {
        ArrowDown: () => this.step(1),
        ArrowUp: () => this.step(-1),
        ArrowLeft: () => chart.pan(-0.15),
        ArrowRight: () => chart.pan(0.15),
        "+": () => chart.zoom(0.8),
        "-": () => chart.zoom(1.25),
        End: () => chart.live(),
        w: () => this.toggleList(),
        f: () => this.active.choice.asset && this.star(this.active.choice.asset),
        l: () => this.setLog(!this.choices.log),
        p: () => this.savePicture(),
        j: () => {
          $("view-menu").open = true;
          $("jump").focus();
        },
      });
      const buttons = [...$("timeframes").children];
      buttons.forEach((button, place) => {
        act[String(place + 1)] = () => button.click();
      });
    }
    const handle = act[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!handle) return;
    event.preventDefault();
    handle();
  }

  /** The asset before or after in the watchlist. */
  step(by) {
    if (!this.choices.list) this.watchlist.show(this.choices.source === "csv" ? this.csvRows() : this.assets.rows(this.search, this.choices.favourites), this.active.choice.asset, this.assets.sparks);
    const ids = this.watchlist.ids();
    const at = ids.indexOf(this.active.choice.asset);
    const next = ids[Math.max(0, Math.min(ids.length - 1, at < 0 ? 0 : at + by))];
    if (next && next !== this.active.choice.asset) this.chooseAsset(next);
  }

  /** The first looks. */
  async begin() {
    this.settle();
    if (this.choices.source === "csv") await this.openFiles(this.choices.charts[0].asset);
  }
}

/** A stream of the same source and symbol. */
function isBaseOf(stream, other) {
  return other !== "" && stream.slice(0, stream.lastIndexOf("/")) === other.slice(0, other.lastIndexOf("/"));
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function closeMenus() {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
}

function storage() {
  try {
    return localStorage.getItem(MEMORY) ?? "";
  } catch {
    return "";
  }
}

const app = new App();
app.begin();
window.fluxcap = app; // for tests and the console
