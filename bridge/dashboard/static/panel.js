// The dev server's panel: every setting and fault with its control, and beside them what a client makes of it.

import { ChartView } from "./chart.js";
import { ask, Refused, send } from "./daemon.js";
import { ClientLog, counts, FAULTS, FEED_STATES } from "./devserver.js";
import { Feed } from "./feed.js";
import { intervalMs } from "./format.js";
import { Series } from "./series.js";
import { HealthView } from "./truth.js";
import { $, el, say, toast } from "./views.js";

const CANDLES = 1_000;
const STATUS_MS = 500;
const LOOK_MS = 250;
const LINES = 60;
class Panel {
  constructor() {
    this.status = null;
    this.stream = "";
    this.series = new Series(1_000);
    this.health = new HealthView(Date.now());
    this.log = new ClientLog();
    this.drawnLines = 0;
    this.chart = new ChartView(document.querySelector(".plot"), { onHover: () => {}, onRange: () => {}, onOlder: () => {} });
    document.querySelector(".plot").fluxcap = this.chart; // for tests and the console
    this.setDark(document.documentElement.dataset.theme === "dark");
    this.feed = new Feed(
      (kind, data) => this.take(kind, data),
      (isLost) => isLost && this.health.lose("the connection to the dev server is gone"),
    );
    this.buildFaults();
    this.connect();
    this.listUniverse();
    this.look();
    setInterval(() => this.look(), STATUS_MS);
    setInterval(() => this.show(), LOOK_MS);
  }

  buildFaults() {
    const fields = FAULTS.map(([name, words, most]) => el("label", {}, `${words} `, el("input", { type: "number", min: 0, max: most, value: 0, name, dataset: { test: `fault-${name}` } })));
    const states = FEED_STATES.map((words, value) => el("option", { value }, words));
    const feed = el("label", {}, "Heartbeats say ", el("select", { name: "feed_state", dataset: { test: "fault-feed_state" } }, ...states));
    const stall = el("label", { className: "check" }, el("input", { type: "checkbox", name: "stall", dataset: { test: "fault-stall" } }), " Stall: publish nothing");
    $("fault-fields").append(...fields, feed, stall);
  }

  connect() {
    const on = (name, kind, handle) =>
      $(name).addEventListener(kind, (event) => {
        event.preventDefault();
        handle(event);
      });
    on("theme", "click", () => this.setDark(!this.isDark));
    on("start", "click", () => this.act(() => send("POST", this.status?.broadcasting ? "/api/stop" : "/api/start")));
    on("restart", "click", () => this.act(() => send("POST", "/api/restart", { store: "keep" }), "Restarted."));
    on("new-store", "click", () => this.act(() => send("POST", "/api/restart", { store: "new" }), "A new store is open."));
    on("endpoints", "submit", () => this.move());
    on("streams", "submit", () => this.apply());
    on("faults", "submit", () => this.setFaults());
    $("faults").addEventListener("change", () => this.setFaults());
    on("lift", "click", () => this.act(() => send("DELETE", "/api/faults")).then(() => this.fillFaults()));
    $("shown").addEventListener("change", () => this.choose($("shown").value));
    $("add-symbol").addEventListener("change", () => this.addSymbol());
    document.addEventListener("keydown", (event) => {
      if (event.key.toLowerCase() === "t" && !event.target.closest("input, select")) this.setDark(!this.isDark);
    });
  }

  /** Do what may be refused; says so when it is. */
  async act(work, done = "") {
    this.isBusy = true;
    try {
      await work();
      if (done) toast(done);
    } catch (error) {
      toast(error instanceof Refused ? error.message : "The dev server does not answer.", "bad");
    }
    this.isBusy = false;
    await this.look();
  }

  async look() {
    if (document.hidden || this.isBusy) return;
    try {
      this.status = await ask("/api/status");
    } catch {
      return; // restarting or moving; the feed says when it is gone
    }
    const { status } = this;
    if (!this.isFilled) {
      this.isFilled = true;
      this.fillEndpoints();
      this.fillFaults();
      for (const name of ["source", "interval", "tick_ms", "batch_size"]) $(name).value = status.settings[name];
      this.symbols = [...status.settings.symbols];
      this.showSymbols();
    }
    const names = status.settings.symbols.map((symbol) => `${status.settings.source}/${symbol}/${status.settings.interval}`);
    if ($("shown").dataset.names !== names.join()) {
      $("shown").dataset.names = names.join();
      $("shown").replaceChildren(...names.map((name) => el("option", { value: name }, name.split("/").slice(1, -1).join("/"))));
      this.choose(names.includes(this.stream) ? this.stream : names[0]);
    }
    for (const [name, count] of Object.entries(counts(status))) say($(`count-${name}`), count.toLocaleString("en"));
    say($("start"), status.broadcasting ? "Stop" : "Start");
  }

  fillEndpoints() {
    $("pub").value = this.status.pub;
    $("rep").value = this.status.rep;
  }

  fillFaults() {
    for (const control of $("faults").querySelectorAll("[name]")) {
      if (control.type === "checkbox") control.checked = this.status.faults[control.name];
      else control.value = this.status.faults[control.name];
    }
  }

  async listUniverse() {
    try {
      this.listings = await ask("/api/universe");
      document.getElementById("universe").append(...this.listings.map(({ symbol, name }) => el("option", { value: symbol }, name)));
    } catch {
      this.listings = [];
    }
  }

  // --- what the user does --------------------------------------------------------------------------------------------

  setDark(isDark) {
    this.isDark = isDark;
    document.documentElement.dataset.theme = isDark ? "dark" : "light";
    this.chart.setDark(isDark);
  }

  async move() {
    await this.act(() => send("PUT", "/api/endpoints", { pub: $("pub").value.trim(), rep: $("rep").value.trim() }));
    this.fillEndpoints();
  }

  apply() {
    const number = (name) => Number($(name).value);
    return this.act(() => send("PUT", "/api/streams", { source: $("source").value.trim(), interval: $("interval").value.trim(), symbols: this.symbols, tick_ms: number("tick_ms"), batch_size: number("batch_size") }), "The streams are as wished.");
  }

  setFaults() {
    const faults = {};
    for (const control of $("faults").querySelectorAll("[name]")) faults[control.name] = control.type === "checkbox" ? control.checked : Number(control.value || 0);
    return this.act(() => send("PUT", "/api/faults", faults));
  }

  addSymbol() {
    const field = $("add-symbol");
    const wanted = field.value.trim();
    const plain = (text) => text.toLowerCase().replace(/[^a-z0-9]/g, "");
    const found = this.listings.find(({ symbol, name }) => wanted && [symbol, name].some((text) => plain(text) === plain(wanted)))?.symbol;
    if (!wanted) return;
    if (!found) toast(`The universe has no ${wanted}.`, "warn");
    else if (!this.symbols.includes(found)) this.symbols.push(found);
    field.value = "";
    this.showSymbols();
  }

  showSymbols() {
    const chip = (symbol) => {
      const remove = () => {
        this.symbols = this.symbols.filter((one) => one !== symbol);
        this.showSymbols();
      };
      return el("span", { className: "chip" }, symbol, el("button", { type: "button", title: `Without ${symbol}`, ariaLabel: `Without ${symbol}`, onclick: remove }, "✕"));
    };
    $("symbols").replaceChildren(...this.symbols.map(chip));
  }

  choose(stream) {
    this.stream = stream;
    $("shown").value = stream;
    this.series = new Series(intervalMs(stream.split("/").pop()));
    this.series.hasOlder = false;
    this.health = new HealthView(Date.now());
    this.log.begin();
    this.chart.show(this.series);
    this.feed.open([stream], [], CANDLES);
  }

  // --- what a client sees --------------------------------------------------------------------------------------------

  take(kind, data) {
    if (data.stream && data.stream !== this.stream) return;
    const { series, chart } = this;
    this.log.take(kind, data);
    switch (kind) {
      case "start":
        this.health.lost = "";
        break;
      case "snapshot":
        series.snapshot(data.candles, data.sequences, data.store_id, CANDLES);
        series.hasOlder = false;
        chart.drawAll();
        break;
      case "reset":
      case "candles":
      case "revision":
        chart.take(series, kind, data);
        break;
      case "forming":
        this.health.tick(Date.now());
        if (series.setForming(data.candle)) chart.draw(series.rows.length);
        break;
      case "state":
        this.health.set(data, Date.now());
        break;
      default:
    }
  }

  show() {
    if (document.hidden) return;
    const { dot, label, reason } = this.health.now(Date.now());
    $("dot").className = `dot ${dot}`;
    say($("health"), label);
    say($("reason"), reason);
    const newest = this.status?.streams.find(({ key }) => `${key.source_id}/${key.symbol}/${key.interval}` === this.stream)?.latest_sequence ?? 0;
    const behind = Math.max(0, newest - this.series.sequence);
    say($("client-counts"), `${this.log.candles.toLocaleString("en")} candles in order, once each${behind > 1 ? `, ${behind} behind` : ""}`);
    const fresh = this.log.lines.filter((line) => line.number > this.drawnLines);
    for (const { number, kind, text } of fresh.slice(-LINES)) {
      this.drawnLines = number;
      $("log").prepend(el("li", {}, el("b", { className: kind.replace(" ", "-") }, kind), ` ${text}`));
    }
    while ($("log").childElementCount > LINES) $("log").lastElementChild.remove();
  }
}

window.fluxcap = new Panel(); // for tests and the console
