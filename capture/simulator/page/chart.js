// Candles of one asset on a canvas, from history and live ticks.
"use strict";

class CandleChart {
  constructor(canvas) {
    this.canvas = canvas;
    this.clear();
  }

  clear() {
    this.bars = [];
    this.period = 60;
    this.decimals = 5;
    this.lastPrice = null;
  }

  // payload of updateHistoryNewFast; its candle rows are [time, open, close, high, low]
  load(payload, decimals) {
    this.clear();
    this.period = payload.period;
    this.decimals = decimals;
    this.bars = payload.candles
      .slice()
      .reverse()
      .map(([time, open, close, high, low]) => ({ time, open, close, high, low }));
    const covered = this.bars.length ? this.bars.at(-1).time + this.period : 0;
    for (const [seconds, price] of payload.history) if (seconds >= covered) this.tick(seconds, price);
  }

  tick(seconds, price) {
    const time = Math.floor(seconds / this.period) * this.period;
    const last = this.bars.at(-1);
    this.lastPrice = price;
    if (last && last.time === time) {
      last.close = price;
      last.high = Math.max(last.high, price);
      last.low = Math.min(last.low, price);
    } else if (!last || time > last.time) {
      this.bars.push({ time, open: price, close: price, high: price, low: price });
      if (this.bars.length > 400) this.bars.shift();
    }
  }

  draw() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.clearRect(0, 0, width, height);
    const step = 11;
    const plot = { left: 0, right: width - 92, top: 24, bottom: height - 28 };
    const bars = this.bars.slice(-Math.floor((plot.right - 50) / step));
    if (!bars.length) return;
    let high = Math.max(...bars.map((bar) => bar.high));
    let low = Math.min(...bars.map((bar) => bar.low));
    const margin = (high - low || high * 1e-4) * 0.12;
    high += margin;
    low -= margin;
    const y = (price) => plot.top + ((high - price) / (high - low)) * (plot.bottom - plot.top);
    const x = (number) => plot.right - 50 - (bars.length - 1 - number) * step;
    this.grid(pen, plot, bars, high, low, y, x);
    bars.forEach((bar, number) => this.bar(pen, bar, x(number), y));
    this.price(pen, plot, y);
  }

  grid(pen, plot, bars, high, low, y, x) {
    pen.font = "11px system-ui, sans-serif";
    pen.textBaseline = "middle";
    for (let line = 0; line <= 6; line++) {
      const price = low + ((high - low) * line) / 6;
      const at = Math.round(y(price)) + 0.5;
      pen.strokeStyle = "#1e2638";
      pen.beginPath();
      pen.moveTo(plot.left, at);
      pen.lineTo(plot.right, at);
      pen.stroke();
      pen.fillStyle = "#76819c";
      pen.textAlign = "left";
      pen.fillText(price.toFixed(this.decimals), plot.right + 10, at);
    }
    pen.textAlign = "center";
    const long = this.period >= 3600;
    for (let number = bars.length - 1; number >= 0; number -= 12) {
      const moment = new Date(bars[number].time * 1000).toISOString();
      if (x(number) > 30) pen.fillText(long ? moment.slice(5, 13).replace("T", " ") + "h" : moment.slice(11, 16), x(number), plot.bottom + 16);
    }
  }

  bar(pen, bar, x, y) {
    pen.strokeStyle = pen.fillStyle = bar.close >= bar.open ? "#2fb67c" : "#ef5b5b";
    pen.beginPath();
    pen.moveTo(x + 0.5, y(bar.high));
    pen.lineTo(x + 0.5, y(bar.low));
    pen.stroke();
    const top = y(Math.max(bar.open, bar.close));
    pen.fillRect(x - 3, top, 7, Math.max(1, y(Math.min(bar.open, bar.close)) - top));
  }

  price(pen, plot, y) {
    const price = this.lastPrice ?? this.bars.at(-1).close;
    const at = Math.round(y(price)) + 0.5;
    pen.strokeStyle = "#5b8cff";
    pen.setLineDash([4, 4]);
    pen.beginPath();
    pen.moveTo(plot.left, at);
    pen.lineTo(plot.right, at);
    pen.stroke();
    pen.setLineDash([]);
    pen.fillStyle = "#3267e3";
    pen.beginPath();
    pen.roundRect(plot.right + 3, at - 10, 86, 20, 4);
    pen.fill();
    pen.fillStyle = "#fff";
    pen.textAlign = "left";
    pen.fillText(price.toFixed(this.decimals), plot.right + 10, at);
  }
}
