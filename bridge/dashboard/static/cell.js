// One chart of the page and all that belongs to it: series, health, lease, legend, banner.

import { ChartView } from "./chart.js";
import { ask, HAS_DAEMON, Lease, olderCandles } from "./daemon.js";
import { changeText, dateTimeText, flagWords, intervalMs } from "./format.js";
import { blindAreas, Series } from "./series.js";
import { differingOf, HealthView } from "./truth.js";
import { el, say, tell, toast } from "./views.js";

export const FIRST_CANDLES = 1_000;
const OLDER_CANDLES = 4_000;
const MOST_CANDLES = 20_000;

/** One chart and all that belongs to it. */
export class Cell {
  constructor(app, place) {
    this.app = app;
    this.place = place;
    this.stream = "";
    this.series = null;
    this.health = new HealthView(Date.now());
    this.lease = new Lease(`page-${app.holder}-${place}`);
    this.gaps = [];
    this.hover = null;
    this.file = null;
    this.isReading = false;
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
    this.file = null;
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
      case "candles":
      case "revision":
        chart.take(series, kind, data);
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

  /** More of the past as soon as the newest candles are drawn, so that one can go back without waiting. */
  async fillUp() {
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
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
    if (!stream || !HAS_DAEMON || this.app.isOpening) return;
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
      if (volume) parts.push(["Vol", String(volume)]);
      if (ticks && ticks !== volume) parts.push(["ticks", String(ticks)]);
      if (row === series.forming) words.push("under way");
      words.push(...flagWords(flags));
      const theirs = chart.differing.get(ts);
      if (theirs) words.push(`differs from the platform's ${theirs.map(text).join(" ")}`);
    }
    const area = tsMs === null ? null : chart.areas.find(({ from, to }) => from < tsMs + series.stepMs && to > tsMs);
    if (area && this.hover) words.push(`not seen${area.reason ? `: ${area.reason}` : ""}`);
    this.prices.replaceChildren(...parts.flatMap(([name, value]) => [el("span", {}, name ? el("i", {}, name) : "", value), " "]));
    this.prices.classList.toggle("down", Boolean(row && row[4] < row[1]));
    say(this.words, words.join(" · "));
    this.lines.replaceChildren(...chart.indicatorsAt(this.hover?.tsMs ?? null).map(({ name, colour, values, digits }) => el("span", {}, el("i", { style: `background:${colour}` }), `${name} ${values.map((value) => value.toFixed(digits)).join(" ")}`)));
  }

  say(title, text = "", isBusy = false) {
    this.overlay.hidden = !title;
    if (!title) return;
    const wanted = [title, text, isBusy].join("|");
    if (this.overlay.dataset.shows === wanted) return;
    this.overlay.dataset.shows = wanted;
    const words = el("span", {});
    tell(words, text);
    this.overlay.replaceChildren(...(isBusy ? [el("span", { className: "spinner" })] : []), el("b", {}, title), ...(text ? [words] : []));
  }
}
