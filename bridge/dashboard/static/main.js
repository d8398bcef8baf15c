// The page: puts choices, feed, charts and the parts around them together.

import { Assets } from "./assets.js";
import { Cell, FIRST_CANDLES } from "./cell.js";
import { noChart, readChoices, toAddress, toMemory } from "./choices.js";
import { closeMenus, connect } from "./controls.js";
import { ask, HAS_DAEMON, NO_DAEMON, Refused } from "./daemon.js";
import { askCollection } from "./drawer.js";
import { Feed } from "./feed.js";
import { openFile, openFiles } from "./files.js";
import { dateTimeText, zoneOffsetMs } from "./format.js";
import { csvText } from "./series.js";
import { layOut, markActive, refresh } from "./show.js";
import { obstacleOf, Rate } from "./truth.js";
import { $, el, toast, Watchlist } from "./views.js";

const KEPT_SERIES = 12;
// What the feed tells by itself is asked seldom: each question costs the daemon, all day long.
const STATUS_MS = 5_000;
const STATUS_SOON_MS = 2_000;
const STREAMS_MS = 30_000;
const ASSETS_MS = 30_000;
const GAPS_MS = 30_000;
const LOOK_MS = 250;
const OPENING_MS = 3_000;
const LOST_AFTER_MS = 1_200;
const SPARK_CANDLES = 60;
const MEMORY = "fluxcap";

class App {
  constructor() {
    this.holder = crypto.getRandomValues(new Uint32Array(2)).join("");
    this.choices = readChoices(location.search, storage());
    this.isDark = document.documentElement.dataset.theme === "dark";
    this.assets = new Assets();
    this.status = null;
    this.statusError = "";
    this.files = null;
    this.collection = null;
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
    connect(this);
    this.layOut();
    this.look();
    setInterval(() => this.look(), LOOK_MS);
  }

  get active() {
    return this.cells[this.choices.active] ?? this.cells[0];
  }

  /** Whether the first candles are still on their way: nothing else is to stand in theirs. */
  get isOpening() {
    return HAS_DAEMON && this.choices.source === "platform" && performance.now() < OPENING_MS && !this.active?.isFresh;
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
    if (HAS_DAEMON && this.isDue("status", isSeen ? this.statusMs() : 30_000)) this.askStatus();
    if (this.isOpening) {
      this.refresh();
      return;
    }
    if (isSeen && this.choices.source !== "csv" && this.isDue("streams", STREAMS_MS)) this.askStreams();
    if (isSeen && HAS_DAEMON && this.isDue("assets", this.assets.listed.size ? ASSETS_MS : 2_000)) this.askAssets();
    if (isSeen && !this.choices.source && this.isDue("files", 10_000)) this.askFiles();
    if (isSeen && this.choices.source === "platform" && this.isDue("gaps", GAPS_MS)) for (const cell of this.cells) cell.loadGaps();
    if (isSeen && HAS_DAEMON) askCollection(this);
    this.renewLeases();
    if (isSeen) this.refresh();
  }

  /** How often the status is asked for: more often while something is wrong, followed or told in the drawer. */
  statusMs() {
    const isFine = this.choices.source === "platform" && !this.choices.follow && !this.obstacle() && !this.status?.no_candles;
    const isLive = this.cells.every((cell) => cell.health.state(Date.now()) === "receiving");
    return isFine && isLive && $("drawer").hidden ? STATUS_MS : STATUS_SOON_MS;
  }

  async askStatus() {
    try {
      this.status = await ask("/api/status", { answer: globalThis.firstStatus });
      this.statusError = "";
      this.aheadMs = this.status.server_time_ms - Date.now();
      this.assets.setStatus(this.status);
    } catch (error) {
      this.statusError = error instanceof Refused ? error.message : NO_DAEMON;
    }
    globalThis.firstStatus = null;
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
    if (this.isOpening || now - (this.sparksAsked.get(id) ?? 0) < 60_000) return;
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
    if (kind === "state") {
      const before = this.assets.states.get(data.stream);
      this.assets.setState(data, Date.now());
      // A feed that stops or goes on: what was not seen, and why, is new.
      if (before && before.feed_state !== data.feed_state) this.due.status = this.due.gaps = 0;
    }
    if (kind === "start") {
      for (const cell of this.cells) cell.health.wasConnected = true;
      return;
    }
    if (kind === "ready") {
      for (const cell of this.cells) if (cell.stream) cell.isFresh = true;
      return;
    }
    for (const cell of this.cells) if (data.stream && data.stream === cell.stream) cell.take(kind, data);
    if (kind === "snapshot") {
      this.due.gaps = 0;
      this.refresh();
    }
  }

  lost(isLost) {
    clearTimeout(this.lostTimer);
    const tell = () => {
      this.isLost = isLost;
      this.due = {};
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
    markActive(this);
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
    } else openFiles(this, assets[0]);
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
      openFile(this);
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
    if (this.choices.source === "csv") openFile(this);
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
    for (const cell of this.cells) if (this.choices.source === "csv") openFile(this, cell);
    this.layOut();
    this.refresh();
  }

  toggleList(isOn = !this.choices.list) {
    this.choices.list = isOn;
    this.layOut();
    this.remember();
    this.refresh();
  }

  // --- what is shown -------------------------------------------------------------------------------------------------

  /** What changes only when something is chosen. */
  layOut() {
    layOut(this);
  }

  /** All that moves with time. */
  refresh() {
    refresh(this);
  }

  /** The daemon's clock, as far as its last status tells. */
  serverNow() {
    return Date.now() + this.aheadMs;
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

  /** The first looks. */
  async begin() {
    this.settle();
    if (this.choices.source === "csv") await openFiles(this, this.choices.charts[0].asset);
  }
}

/** A stream of the same source and symbol. */
function isBaseOf(stream, other) {
  return other !== "" && stream.slice(0, stream.lastIndexOf("/")) === other.slice(0, other.lastIndexOf("/"));
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
