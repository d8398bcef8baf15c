// The chart: candles above, volume below, on one time axis. Gets rows [ts_ms, open, high, low, close, volume, flags] and
// draws only what changed; the rows live here, so that an update is a few numbers and never the whole chart.
import { echarts } from "nicegui-echart";

const FLAGS = [
  [1, "joined late", "#c9922e"],
  [2, "blind for a part", "#d9534f"],
  [4, "filled from history", "#4c8dd6"],
  [8, "revised", "#9a6bd0"],
];
const THEMES = {
  dark: { text: "#9aa7b5", strong: "#e6edf3", line: "#1f2933", up: "#2fb38a", down: "#e5645d", shade: "rgba(229,100,93,.13)", tip: "#18212b", price: "#f0b429" },
  light: { text: "#57636f", strong: "#18212b", line: "#e7ebef", up: "#13866a", down: "#c93b35", shade: "rgba(201,59,53,.10)", tip: "#ffffff", price: "#b97800" },
};
const SHOWN = 120;

export default {
  template: '<div class="candle-chart" role="img" :aria-label="label"></div>',
  props: { dark: Boolean, label: String },
  mounted() {
    this.clear();
    this.chart = echarts.init(this.$el, null, { renderer: "canvas" });
    this.$el.fluxcap = this; // for tests and the console
    this.sizes = new ResizeObserver(() => { this.chart.resize(); this.layout(); this.draw(false, this.endMs()); });
    this.sizes.observe(this.$el);
    // Only what the user does: our own setOption fires no such event.
    this.chart.on("datazoom", () => { this.zoomed = true; this.follow = this.viewReachesEnd(); });
    this.dress();
  },
  beforeUnmount() { this.sizes.disconnect(); this.chart.dispose(); },
  watch: { dark() { this.dress(); } },
  methods: {
    clear() {
      Object.assign(this, { rows: [], places: new Map(), forming: null, areas: [], step: 60000, digits: 5, follow: true, zoomed: false, shown: "", updates: 0 });
    },
    // --- called from Python ---
    replace(rows, forming, step, digits) {
      this.clear();
      Object.assign(this, { rows, forming, step, digits });
      rows.forEach((row, i) => this.places.set(row[0], i));
      this.layout();
      this.draw(true);
    },
    apply(rows, forming, digits) {
      const before = this.endMs();
      const isWider = digits > this.digits || (!this.rows.length && rows.length);
      this.digits = Math.max(this.digits, digits);
      for (const row of rows) {
        const place = this.places.get(row[0]);
        if (place !== undefined) this.rows[place] = row;
        else if (!this.rows.length || row[0] > this.rows.at(-1)[0]) { this.places.set(row[0], this.rows.length); this.rows.push(row); }
        else { this.rows.push(row); this.rows.sort((a, b) => a[0] - b[0]); this.places.clear(); this.rows.forEach((r, i) => this.places.set(r[0], i)); }
      }
      this.forming = forming && (!this.rows.length || forming[0] > this.rows.at(-1)[0]) ? forming : null;
      if (isWider) this.layout();
      this.draw(false, before);
    },
    shade(areas) { this.areas = areas; this.draw(false, this.endMs()); },
    // --- for tests ---
    facts() {
      const [from, to] = this.view();
      return { count: this.rows.length, forming: this.forming, last: this.rows.at(-1) ?? null, areas: this.areas, from, to, updates: this.updates, marked: this.rows.filter((r) => r[6]).length, dark: this.dark, line: this.chart.getOption()?.series?.[0]?.markLine?.data?.[0]?.yAxis ?? null };
    },
    // --- within ---
    all() { return this.forming ? [...this.rows, this.forming] : this.rows; },
    endMs() { return this.forming?.[0] ?? this.rows.at(-1)?.[0] ?? 0; },
    view() {
      const zoom = this.chart.getOption()?.dataZoom?.[0];
      return zoom ? [zoom.startValue, zoom.endValue] : [0, 0];
    },
    viewReachesEnd() { return this.view()[1] >= this.endMs(); },
    draw(whole, before = 0) {
      if (!this.chart) return;
      this.updates += 1;
      const rows = this.all(), end = this.endMs(), colours = this.colours, last = end + Math.min(4, 1 + rows.length / 40) * this.step;
      const option = {
        xAxis: [{ max: end ? last : null, min: rows.length ? rows[0][0] - this.step : null }, { max: end ? last : null, min: rows.length ? rows[0][0] - this.step : null }],
        series: [
          { id: "candles", data: rows.map((r) => [r[0], r[1], r[4], r[3], r[2]]), markLine: this.priceLine(), markArea: this.shades() },
          { id: "volume", data: rows.map((r) => [r[0], r[5], r[4] >= r[1] ? 1 : 0]) },
          { id: "flags", data: rows.filter((r) => r[6]).map((r) => ({ value: [r[0], r[2]], itemStyle: { color: (FLAGS.find(([bit]) => r[6] & bit) ?? [0, 0, colours.text])[2] } })) },
        ],
      };
      const hasVolume = rows.some((r) => r[5]);
      if (whole || hasVolume !== this.hasVolume) option.yAxis = [{}, { show: hasVolume }];
      this.hasVolume = hasVolume;
      if (!this.zoomed) {
        // The newest candles, until the user zooms: the first drawing may hold one candle, and its history come after.
        const from = Math.max((rows[0]?.[0] ?? 0) - this.step, end - (this.$el.clientWidth < 600 ? SHOWN / 2 : SHOWN) * this.step);
        if (whole || this.shown !== `${from} ${last}`) option.dataZoom = this.zoomTo(from, last);
        this.shown = `${from} ${last}`;
      } else if (this.follow && before && end > before) {
        const [from, to] = this.view();
        option.dataZoom = this.zoomTo(from + (end - before), to + (end - before));
      }
      this.chart.setOption(option, { lazyUpdate: true });
    },
    zoomTo(from, to) { return [{ startValue: from, endValue: to }, { startValue: from, endValue: to }]; },
    priceLine() {
      const price = this.forming?.[4] ?? null;
      return { data: price === null ? [] : [{ yAxis: price }] };
    },
    shades() {
      return { data: this.areas.map(([from, to, reason]) => [{ xAxis: from, name: reason }, { xAxis: to }]) };
    },
    dress() {
      if (!this.chart) return;
      this.colours = THEMES[this.dark ? "dark" : "light"];
      this.layout();
      this.draw(!this.chart.getOption()?.dataZoom?.[0]?.endValue);
    },
    layout() {
      if (!this.chart || !this.colours) return;
      const c = this.colours, narrow = this.$el.clientWidth < 600, chars = (this.rows.at(-1)?.[2] ?? 1).toFixed(this.digits).length, right = 24 + chars * (narrow ? 6 : 7), font = { color: c.text, fontSize: narrow ? 10 : 11 };
      const axis = { type: "time", axisLine: { lineStyle: { color: c.line } }, axisTick: { show: false }, splitLine: { show: false }, axisPointer: { snap: true }, useUTC: true };
      const price = { scale: true, minInterval: 10 ** -this.digits, boundaryGap: ["4%", "7%"], position: "right", splitLine: { lineStyle: { color: c.line } }, axisLabel: { ...font, formatter: (v) => v.toFixed(this.digits) }, axisPointer: { label: { formatter: (p) => Number(p.value).toFixed(this.digits) } } };
      this.chart.setOption({
        animation: false, useUTC: true, backgroundColor: "transparent",
        grid: [{ left: 10, right, top: 12, bottom: narrow ? 132 : 140 }, { left: 10, right, height: 52, bottom: 66 }],
        xAxis: [{ ...axis, gridIndex: 0, axisLabel: { show: false }, axisPointer: { snap: true, label: { show: false } } }, { ...axis, gridIndex: 1, axisLabel: { ...font, hideOverlap: true } }],
        yAxis: [{ ...price, gridIndex: 0 }, { gridIndex: 1, position: "right", splitNumber: 1, splitLine: { show: false }, axisLabel: { ...font, showMinLabel: false } }],
        axisPointer: { link: [{ xAxisIndex: "all" }], label: { backgroundColor: c.tip, color: c.strong, borderColor: c.line, borderWidth: 1 } },
        dataZoom: [{ type: "inside", xAxisIndex: [0, 1], filterMode: "filter", minValueSpan: 5 * this.step }, { type: "slider", xAxisIndex: [0, 1], height: 22, bottom: 10, left: 12, right, borderColor: c.line, textStyle: font, brushSelect: false, showDetail: false, dataBackground: { lineStyle: { color: c.text, opacity: 0.5 }, areaStyle: { color: c.text, opacity: 0.12 } } }],
        tooltip: { trigger: "axis", axisPointer: { type: "cross", crossStyle: { color: c.text } }, confine: true, backgroundColor: c.tip, borderColor: c.line, textStyle: { color: c.strong, fontSize: 12 }, formatter: (points) => this.tip(points) },
        series: [
          { id: "candles", type: "candlestick", itemStyle: { color: c.up, color0: c.down, borderColor: c.up, borderColor0: c.down }, barMinWidth: 1, barMaxWidth: 18,
            markLine: { symbol: "none", precision: 10, silent: true, animation: false, lineStyle: { color: c.price, type: "dashed", width: 1 }, label: { position: "end", formatter: (p) => Number(p.value).toFixed(this.digits), color: "#111", backgroundColor: c.price, padding: [4, 5, 2, 5], borderRadius: 3, fontSize: narrow ? 10 : 11 }, data: [] },
            markArea: { silent: true, animation: false, itemStyle: { color: c.shade }, label: { show: true, color: c.text, position: "insideTop", fontSize: 10, overflow: "truncate", width: 90 }, data: [] } },
          { id: "volume", type: "bar", xAxisIndex: 1, yAxisIndex: 1, barMaxWidth: 18, itemStyle: { color: (p) => (p.value[2] ? c.up : c.down), opacity: 0.5 } },
          { id: "flags", type: "scatter", symbol: "triangle", symbolRotate: 180, symbolSize: 8, symbolOffset: [0, -9], silent: true, z: 5 },
        ],
      });
    },
    tip(points) {
      const row = this.all()[this.places.get(points[0]?.value?.[0]) ?? this.rows.length];
      if (!row) return "";
      const c = this.colours, f = (v) => v.toFixed(this.digits), change = row[4] - row[1];
      const when = new Date(row[0]).toISOString().replace("T", " ").slice(0, 19);
      const flags = FLAGS.filter(([bit]) => row[6] & bit).map(([, name, colour]) => `<br><span style="color:${colour}">▼</span> ${name}`).join("");
      return `<b>${when}</b>${row === this.forming ? " forming" : ""}<br>O ${f(row[1])}  H ${f(row[2])}<br>L ${f(row[3])}  C ${f(row[4])}<br><span style="color:${change >= 0 ? c.up : c.down}">${change >= 0 ? "+" : "−"}${f(Math.abs(change))}</span>  ${row[5]} ticks${flags}`;
    },
  },
};
