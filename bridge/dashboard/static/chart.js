// One chart: candles, volume, indicators, blind times and marks, drawn by lightweight-charts. Draws only what changed.
/* global LightweightCharts */

import { dateTimeText, decimalsOf, durationText, FLAGS, zoneOffsetMs } from "./format.js";
import { Bollinger, indicatorOf, Rsi } from "./indicators.js";
import { axisTimes, Series } from "./series.js";

const THEMES = {
  dark: { back: "#0e141a", text: "#9fb0c0", grid: "#18212a", line: "#2a3641", up: "#2fb8a6", down: "#f0714f", price: "#f2c14e", blind: "#f2c14e", note: "#d8e2ec" },
  light: { back: "#ffffff", text: "#4a5763", grid: "#eef2f5", line: "#d5dde4", up: "#0b8f7e", down: "#d4491f", price: "#8a5a00", blind: "#8a5a00", note: "#1a232c" },
};
const MARKS = { J: "#c98a10", B: "#c98a10", F: "#4c8dd6", R: "#9a6bd0", "≠": "#e0507a" };
const LINES = ["#4c8dd6", "#c98a10", "#9a6bd0", "#3fa7a0", "#d0679d", "#7d8b99", "#b0783a", "#5f9e3f"];
const BAR_PX = 7;
const LEAST_BARS = 50;
const LARGE_FROM_PX = 2_200; // a 4K screen without scaling
const OLDER_WITHIN = 40;
const MARK_TEXT_FROM_PX = 7;

/** Blind times: hatched, with words where there is room. Places are those of the time axis. */
class BlindTimes {
  constructor() {
    this.areas = [];
    this.colours = THEMES.dark;
  }

  attached({ chart, requestUpdate }) {
    this.chart = chart;
    this.requestUpdate = requestUpdate;
  }

  set(areas) {
    this.areas = areas;
    this.requestUpdate?.();
  }

  updateAllViews() {}

  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.paint(target) }) }];
  }

  paint(target) {
    const scale = this.chart.timeScale();
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      for (const { from, to, words } of this.areas) {
        // The library knows whole places only.
        const half = scale.options().barSpacing / 2;
        const left = Math.max(-10, scale.logicalToCoordinate(Math.round(from)) - half);
        const right = Math.min(mediaSize.width + 10, scale.logicalToCoordinate(Math.round(to)) + half);
        if (right <= 0 || left >= mediaSize.width) continue;
        context.save();
        context.beginPath();
        context.rect(left, 0, Math.max(2, right - left), mediaSize.height);
        context.clip();
        context.fillStyle = context.strokeStyle = this.colours.blind;
        context.globalAlpha = 0.1;
        context.fillRect(left, 0, Math.max(2, right - left), mediaSize.height);
        context.globalAlpha = 0.28;
        context.lineWidth = 1;
        context.beginPath();
        for (let x = left - mediaSize.height; x < right; x += 9) {
          context.moveTo(x, mediaSize.height);
          context.lineTo(x + mediaSize.height, 0);
        }
        context.stroke();
        context.globalAlpha = 1;
        context.fillStyle = this.colours.note;
        context.font = "11px system-ui, sans-serif";
        if (context.measureText(words).width + 10 < right - left) {
          context.fillText(words, Math.max(left, 0) + 5, mediaSize.height - 8);
        }
        context.restore();
      }
    });
  }
}

export class ChartView {
  /**
   * host: an element that the chart fills. onHover(row or null, tsMs): the candle below the pointer.
   * onRange(): what is seen has changed. onOlder(): older candles are wanted.
   */
  constructor(host, { onHover, onRange, onOlder }) {
    this.host = host;
    this.series = new Series(60_000);
    this.zone = { name: "utc", platformMs: null };
    this.shiftMs = 0;
    this.axis = [];
    this.areas = [];
    this.differing = new Map();
    this.indicators = [];
    this.closes = [];
    this.digits = 2;
    this.updates = 0;
    this.fullDraws = 0;
    this.drawnMs = 0;
    this.drawnForming = 0;
    this.dark = true;
    this.isLog = false;
    this.hasTexts = true;
    this.want = { bars: 0, to: 0 };
    this.isMoved = false;
    this.aimed = null;
    this.aiming = 0;
    this.chart = LightweightCharts.createChart(host, {
      autoSize: true,
      layout: { attributionLogo: true, fontSize: innerWidth >= LARGE_FROM_PX ? 14 : 11, fontFamily: "system-ui, sans-serif", panes: { separatorColor: "#80808040" } },
      crosshair: { mode: LightweightCharts.CrosshairMode.Normal },
      localization: { timeFormatter: (time) => dateTimeText(this.wordsMs(time)) },
      timeScale: { timeVisible: true, rightOffset: 4, minBarSpacing: 0.1, tickMarkFormatter: (time, type) => this.tickText(time, type) },
      handleScroll: { vertTouchDrag: false },
    });
    const { CandlestickSeries, HistogramSeries } = LightweightCharts;
    this.volume = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, lastValueVisible: false, priceLineVisible: false });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.candles = this.chart.addSeries(CandlestickSeries, { priceLineStyle: 2, lastValueVisible: false, priceLineVisible: false });
    this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.2 } });
    this.blind = new BlindTimes();
    this.candles.attachPrimitive(this.blind);
    this.marks = LightweightCharts.createSeriesMarkers(this.candles, []);
    this.countdown = Object.assign(document.createElement("div"), { className: "countdown", hidden: true });
    host.append(this.countdown);
    this.chart.subscribeCrosshairMove((move) => {
      const tsMs = move.time === undefined ? null : this.tsOf(move.time);
      onHover(tsMs === null ? null : this.series.at(tsMs), tsMs, Boolean(move.sourceEvent));
    });
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      this.placeCountdown();
      if (!range) return;
      this.showMarkTexts();
      if (range.from < OLDER_WITHIN && this.series.hasOlder && this.series.rows.length) onOlder();
      onRange();
    });
    // The library keeps the width of a candle when its place grows; what was asked for is a number of candles.
    this.chart.timeScale().subscribeSizeChange(() => {
      if (this.isPlaced && !this.isMoved) this.place();
    });
    for (const kind of ["wheel", "pointerdown"]) {
      host.addEventListener(kind, () => this.move(), { capture: true, passive: true });
    }
    this.resized = new ResizeObserver(() => {
      this.placing = requestAnimationFrame(() => this.placeCountdown());
    });
    this.resized.observe(host);
    this.dress();
  }

  /** What was under way for it, candles that were asked for, may still come. */
  close() {
    this.isClosed = true;
    this.resized.disconnect();
    cancelAnimationFrame(this.placing);
    cancelAnimationFrame(this.aiming);
    this.chart.remove();
    this.countdown.remove();
  }

  // --- what is drawn -------------------------------------------------------------------------------------------------

  /** Draw another series. bars, to: how many candles are seen, and the time of the last one; 0: as usual, and live. */
  show(series, { bars = 0, to = 0 } = {}) {
    this.series = series;
    this.areas = [];
    this.want = { bars, to };
    this.isMoved = false;
    this.digits = 2;
    this.isPlaced = false;
    this.aimed = null;
    this.drawAll();
  }

  /** Draw what is new: the candles from an index on, and the one under way. */
  draw(from) {
    if (this.isClosed) return;
    const { rows, forming } = this.series;
    const fresh = forming ? [...rows.slice(from), forming] : rows.slice(from);
    const isGone = this.drawnForming > this.series.lastMs && !forming;
    if (!this.isPlaced || isGone || fresh.some((row) => !this.hasPlace(row[0]))) {
      this.drawAll();
      return;
    }
    this.updates += 1;
    if (this.widen(fresh)) {
      this.drawAll();
      return;
    }
    for (const row of fresh) {
      const isOlder = row[0] < this.axis[this.axis.length - 1];
      this.candles.update(this.barOf(row), isOlder);
      this.volume.update(this.volumeOf(row), isOlder);
      if (!isOlder && row[0] > this.axis[this.axis.length - 1]) this.axis.push(row[0]);
      this.drawn.add(row[0]);
    }
    this.remember();
    this.drawIndicators(Math.min(from, this.closes.length));
    if (fresh.some((row) => row[7] || this.differing.has(row[0]))) this.drawMarks();
    this.showPriceLine();
  }

  /** Whether a candle of that time was drawn before, or follows all that were. */
  hasPlace(tsMs) {
    const place = firstAfter(this.axis, tsMs) - 1;
    return place === this.axis.length - 1 || (this.axis[place] === tsMs && this.drawn.has(tsMs));
  }

  /** Candles that the feed tells: those that come next, better ones, or that all begins anew. */
  take(series, kind, data) {
    if (kind === "reset") {
      series.reset();
      this.drawAll();
    } else {
      this.draw(kind === "candles" ? series.append(data.sequence, data.candles) : series.revise(data.candles));
    }
  }

  drawAll() {
    if (this.isClosed) return;
    const rows = this.series.all();
    this.updates += 1;
    this.fullDraws += 1;
    this.widen(rows.slice(-200));
    const last = rows[rows.length - 1]?.[0] ?? Date.now();
    this.shiftMs = zoneOffsetMs(this.zone.name, last, this.zone.platformMs);
    const seen = this.isPlaced ? this.anchor() : null;
    this.axis = axisTimes(rows, this.areas, this.series.stepMs);
    const byTime = this.axis.length === rows.length ? null : new Map(rows.map((row) => [row[0], row]));
    const bars = byTime
      ? this.axis.map((ts) => (byTime.has(ts) ? this.barOf(byTime.get(ts)) : { time: this.timeOf(ts) }))
      : rows.map((row) => this.barOf(row));
    this.drawn = new Set(rows.map((row) => row[0]));
    this.candles.setData(bars);
    // Files may have none: a line of nothings would look like something.
    this.volume.setData(rows.some((row) => row[5]) ? rows.map((row) => this.volumeOf(row)) : []);
    this.remember();
    this.closes = [];
    this.drawIndicators(0);
    this.drawMarks();
    this.placeAreas();
    this.showPriceLine();
    if (!this.isPlaced && rows.length) {
      this.isPlaced = true;
      this.place();
    } else if (seen && rows.length) this.restore(seen);
  }

  /** The places that are seen. The library takes a new range with its next frame, and tells the old one until then. */
  get range() {
    return this.aimed ?? this.chart.timeScale().getVisibleLogicalRange();
  }

  set range(range) {
    this.aimed = range;
    this.chart.timeScale().setVisibleLogicalRange(range);
    cancelAnimationFrame(this.aiming);
    this.aiming = requestAnimationFrame(() => {
      this.aimed = null;
    });
  }

  /** What is seen, by the time at its right side, so that it stays when places are added before or between. */
  anchor() {
    const { range } = this;
    const end = this.axis.length - 1;
    if (!range || end < 0) return null;
    const at = range.to >= end ? end : Math.max(0, Math.floor(range.to));
    return { bars: range.to - range.from, after: range.to - at, tsMs: this.axis[at], isLive: range.to >= end };
  }

  restore({ bars, after, tsMs, isLive }) {
    const at = isLive ? this.axis.length - 1 : Math.max(0, firstAfter(this.axis, tsMs) - 1);
    this.range = { from: at + after - bars, to: at + after };
  }

  remember() {
    this.drawnMs = this.series.lastMs;
    this.drawnForming = this.series.forming?.[0] ?? 0;
  }

  /** Blind times, and the candles that differ from the platform's own. Draws only where that is new. */
  note(areas, differing) {
    if (this.isClosed) return;
    const isNew = JSON.stringify(areas) !== JSON.stringify(this.areas);
    const differs = differing.size !== this.differing.size || [...differing.keys()].some((ts) => !this.differing.has(ts));
    this.areas = areas;
    this.differing = differing;
    if (isNew) this.drawAll();
    else if (differs) this.drawMarks();
  }

  placeAreas() {
    const { axis, series } = this;
    const placeOf = (ts) => firstAfter(axis, ts) - 1;
    this.blind.set(
      this.areas.map(({ from, to, reason }) => {
        const begin = placeOf(from);
        const last = axis[axis.length - 1];
        const isOpen = to > last + series.stepMs;
        const isIn = begin >= 0 && from < axis[begin] + series.stepMs;
        return {
          from: isIn ? begin : begin + 1,
          to: isOpen ? axis.length - 1 + Math.min(60, (to - last) / series.stepMs) : Math.max(placeOf(to - 1), isIn ? begin : begin + 1),
          words: `Not seen: ${durationText(to - from)}${reason ? `, ${reason}` : ""}`,
        };
      }),
    );
  }

  drawMarks() {
    const marks = [];
    for (const row of this.series.rows) {
      const letters = FLAGS.filter(({ bit }) => row[7] & bit).map(({ letter }) => letter);
      if (this.differing.has(row[0])) letters.push("≠");
      if (!letters.length) continue;
      const lead = letters[letters.length - 1] === "≠" ? "≠" : letters[0];
      marks.push({
        time: this.timeOf(row[0]),
        position: "aboveBar",
        color: MARKS[lead],
        shape: lead === "F" || lead === "R" ? "circle" : lead === "≠" ? "arrowDown" : "square",
        size: 0.6,
        text: this.hasTexts ? letters.join("") : "",
      });
    }
    this.markCount = marks.length;
    this.marks.setMarkers(marks);
  }

  showMarkTexts() {
    const has = this.chart.timeScale().options().barSpacing >= MARK_TEXT_FROM_PX;
    if (has === this.hasTexts) return;
    this.hasTexts = has;
    if (this.markCount) this.drawMarks();
  }

  /** Take away the candle under way and its price line. */
  endLive() {
    if (!this.series.forming) return;
    this.series.setForming(null);
    this.drawAll();
  }

  showPriceLine() {
    const has = Boolean(this.series.forming);
    if (has !== this.hasLine) this.candles.applyOptions({ priceLineVisible: has, lastValueVisible: has });
    this.hasLine = has;
    this.placeCountdown();
  }

  /** Words below the price on the axis: time left of the candle; "" takes them away. */
  setCountdown(words) {
    this.countdown.textContent = words;
    this.countdown.hidden = !words;
    this.placeCountdown();
  }

  placeCountdown() {
    if (this.isClosed || !this.hasLine || !this.series.forming) {
      this.countdown.hidden = true;
      return;
    }
    const y = this.candles.priceToCoordinate(this.series.forming[4]);
    if (y === null) return;
    this.countdown.style.transform = `translateY(${Math.round(y + 9)}px)`;
    this.countdown.style.width = `${Math.max(0, this.chart.priceScale("right").width() - 5)}px`;
  }

  // --- indicators ----------------------------------------------------------------------------------------------------

  /** names: as `indicatorOf` takes them. */
  setIndicators(names) {
    for (const one of this.indicators) for (const line of one.lines) this.chart.removeSeries(line);
    this.indicators = names.map((name, place) => {
      const maths = indicatorOf(name);
      const colour = LINES[place % LINES.length];
      const pane = maths instanceof Rsi ? 1 : 0;
      const options = { color: colour, lineWidth: 1.5, priceLineVisible: false, lastValueVisible: pane === 1, crosshairMarkerVisible: false };
      if (pane) options.priceFormat = { type: "custom", formatter: (value) => value.toFixed(1), minMove: 0.1 };
      const lines = (maths instanceof Bollinger ? ["middle", "upper", "lower"] : ["values"]).map((of) =>
        Object.assign(this.chart.addSeries(LightweightCharts.LineSeries, { ...options, lineStyle: of === "upper" || of === "lower" ? 2 : 0 }, pane), { of }),
      );
      if (pane) for (const price of [30, 70]) lines[0].createPriceLine({ price, color: "#80808080", lineWidth: 1, lineStyle: 2, axisLabelVisible: false });
      return { name, maths, lines, colour };
    });
    const [, second] = this.chart.panes();
    if (second) second.setHeight(Math.min(130, this.host.clientHeight / 4));
    this.closes = [];
    this.drawIndicators(0);
  }

  drawIndicators(from) {
    if (!this.indicators.length) return;
    const rows = this.series.all();
    this.closes.length = Math.min(from, this.closes.length);
    for (let i = this.closes.length; i < rows.length; i += 1) this.closes.push(rows[i][4]);
    for (const { maths, lines } of this.indicators) {
      maths.update(this.closes, from);
      for (const line of lines) {
        const values = maths[line.of];
        const point = (i) => (Number.isNaN(values[i]) ? { time: this.timeOf(rows[i][0]) } : { time: this.timeOf(rows[i][0]), value: values[i] });
        const newest = line.newestMs ?? 0;
        if (from) for (let i = from; i < rows.length; i += 1) line.update(point(i), rows[i][0] < newest);
        else line.setData(rows.map((_, i) => point(i)));
        line.newestMs = rows[rows.length - 1]?.[0] ?? 0;
      }
    }
  }

  /** [{name, colour, values}] at a candle; of the last one where it is null. */
  indicatorsAt(tsMs) {
    const rows = this.series.all();
    const place = tsMs === null ? rows.length - 1 : this.series.forming?.[0] === tsMs ? rows.length - 1 : this.series.placeOf(tsMs);
    return this.indicators.map(({ name, maths, lines, colour }) => ({
      name: name.replace(/\d+/, " $&").toUpperCase(),
      colour,
      values: lines.map((line) => maths[line.of][place]).filter((value) => value !== undefined && !Number.isNaN(value)),
      digits: maths instanceof Rsi ? 1 : this.digits,
    }));
  }

  // --- look and place ------------------------------------------------------------------------------------------------

  setDark(dark) {
    this.dark = dark;
    this.dress();
    this.drawAll();
  }

  setLog(isLog) {
    this.isLog = isLog;
    this.candles.priceScale().applyOptions({ mode: isLog ? 1 : 0 });
  }

  setZone(name, platformMs) {
    if (this.zone.name === name && this.zone.platformMs === platformMs) return;
    this.zone = { name, platformMs };
    this.drawAll();
  }

  dress() {
    const colours = THEMES[this.dark ? "dark" : "light"];
    this.colours = this.blind.colours = colours;
    this.chart.applyOptions({
      layout: { background: { color: colours.back }, textColor: colours.text },
      grid: { vertLines: { color: colours.grid }, horzLines: { color: colours.grid } },
      rightPriceScale: { borderColor: colours.line },
      timeScale: { borderColor: colours.line },
      crosshair: { vertLine: { color: colours.text, labelBackgroundColor: "#3b4a58" }, horzLine: { color: colours.text, labelBackgroundColor: "#3b4a58" } },
    });
    this.candles.applyOptions({ upColor: colours.up, downColor: colours.down, borderUpColor: colours.up, borderDownColor: colours.down, wickUpColor: colours.up, wickDownColor: colours.down, priceLineColor: colours.price });
  }

  /** As the address has it: so many candles, ending at a time or live. */
  place() {
    const bars = this.want.bars || Math.max(LEAST_BARS, Math.round(this.host.clientWidth / BAR_PX));
    let end = this.axis.length - 1 + 4;
    if (this.want.to) {
      const rows = this.axis.findIndex((ts) => ts > this.want.to);
      if (rows >= 0) end = rows - 1;
    }
    this.range = { from: end - bars, to: end };
  }

  /** From now on the user's own: it stays where it is put. */
  move() {
    this.isMoved = true;
  }

  /** How many candles are to be seen, 0 as usual, and the time of the last of them, 0 where that is the newest. */
  seen() {
    return this.isMoved ? this.visible() : this.want;
  }

  /** As `seen`, by what is there. */
  visible() {
    const { range } = this;
    if (!range || !this.axis.length) return { bars: 0, to: 0 };
    const isLive = range.to >= this.axis.length - 1;
    const last = Math.max(0, Math.min(this.axis.length - 1, Math.floor(range.to)));
    return { bars: Math.round(range.to - range.from), to: isLive ? 0 : this.axis[last] };
  }

  live() {
    const { bars } = this.visible();
    this.move();
    this.restore({ bars, after: 4, tsMs: 0, isLive: true });
  }

  /** Put the candle of a time into the middle. */
  jump(tsMs) {
    const { bars } = this.visible();
    this.move();
    let at = this.axis.findIndex((ts) => ts > tsMs) - 1;
    if (at < -1) at = this.axis.length - 1;
    this.range = { from: Math.max(0, at) - bars / 2, to: Math.max(0, at) + bars / 2 };
  }

  /** Move by a part of what is seen (negative: to the past), or zoom by a factor. */
  pan(part) {
    const { range } = this;
    this.move();
    const by = (range.to - range.from) * part;
    this.range = { from: range.from + by, to: range.to + by };
  }

  zoom(factor) {
    const { range } = this;
    this.move();
    this.range = { from: range.to - (range.to - range.from) * factor, to: range.to };
  }

  /** The candles that are seen. */
  visibleRows() {
    const { range } = this;
    if (!range) return [];
    const [from, to] = [this.axis[Math.max(0, Math.ceil(range.from))], this.axis[Math.min(this.axis.length - 1, Math.floor(range.to))]];
    return this.series.all().filter((row) => row[0] >= from && row[0] <= to);
  }

  /** A canvas of what is seen. */
  picture() {
    return this.chart.takeScreenshot(true);
  }

  /** The crosshair of another chart stands at a time; null: at none. */
  pointAt(tsMs) {
    const row = tsMs === null ? null : this.series.rows[this.series.placeOf(tsMs)];
    if (!row) this.chart.clearCrosshairPosition();
    else this.chart.setCrosshairPosition(row[4], this.timeOf(row[0]), this.candles);
  }

  /** For tests. */
  facts() {
    const { range } = this;
    const within = (place) => this.axis[Math.max(0, Math.min(this.axis.length - 1, Math.round(place)))] ?? 0;
    return {
      count: this.series.rows.length,
      forming: this.series.forming,
      last: this.series.rows[this.series.rows.length - 1] ?? null,
      areas: this.areas.map(({ from, to, reason }) => [from, to, reason]),
      from: range ? within(range.from) : 0,
      to: range ? within(range.to) : 0,
      updates: this.updates,
      fullDraws: this.fullDraws,
      marked: this.markCount ?? 0,
      dark: this.dark,
      log: this.isLog,
      digits: this.digits,
      line: this.hasLine && this.series.forming ? this.series.forming[4] : null,
      countdown: this.countdown.hidden ? "" : this.countdown.textContent,
      indicators: this.indicatorsAt(null),
      axisTimes: this.axis.length,
    };
  }

  // --- within --------------------------------------------------------------------------------------------------------

  timeOf(tsMs) {
    return (tsMs + this.shiftMs) / 1_000;
  }

  tsOf(time) {
    return Math.round(time * 1_000 - this.shiftMs);
  }

  /** The time of a place in the words of its zone: the whole axis has one shift, a day of summer may have another. */
  wordsMs(time) {
    const tsMs = this.tsOf(time);
    return tsMs + zoneOffsetMs(this.zone.name, tsMs, this.zone.platformMs);
  }

  tickText(time, type) {
    const text = new Date(this.wordsMs(time)).toISOString();
    if (type === 0) return text.slice(0, 4);
    if (type === 1) return new Date(text).toLocaleDateString("en", { month: "short", timeZone: "UTC" });
    if (type === 2) return `${Number(text.slice(8, 10))} ${new Date(text).toLocaleDateString("en", { month: "short", timeZone: "UTC" })}`;
    return type === 4 ? text.slice(11, 19) : text.slice(11, 16);
  }

  barOf(row) {
    const bar = { time: this.timeOf(row[0]), open: row[1], high: row[2], low: row[3], close: row[4] };
    // Not all of it was seen: hollow.
    if (row[7] & 3 && !(row[7] & 4)) bar.color = "#00000000";
    return bar;
  }

  volumeOf(row) {
    const colour = row[4] >= row[1] ? this.colours.up : this.colours.down;
    return { time: this.timeOf(row[0]), value: row[5], color: `${colour}55` };
  }

  /** More digits where the prices have them. */
  widen(rows) {
    const digits = decimalsOf(rows.map((row) => row[4]));
    if (digits <= this.digits) return false;
    this.digits = digits;
    this.candles.applyOptions({ priceFormat: { type: "price", precision: digits, minMove: 10 ** -digits } });
    return true;
  }
}

/** Index of the first of ascending times that is later. */
function firstAfter(times, tsMs) {
  let [low, high] = [0, times.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] <= tsMs) low = middle + 1;
    else high = middle;
  }
  return low;
}
