// What is clicked and typed.

import { connectDrawer, toggleDrawer } from "./drawer.js";
import { REST_AFTER_MS } from "./feed.js";
import { csvRows, openFile } from "./files.js";
import { zoneOffsetMs } from "./format.js";
import { $, el } from "./views.js";

const INDICATORS = [["sma20", "SMA 20"], ["sma50", "SMA 50"], ["ema20", "EMA 20"], ["ema50", "EMA 50"], ["bb20", "Bollinger 20, 2"], ["rsi14", "RSI 14"]];

export function connect(app) {
  const on = (name, kind, handle) => $(name).addEventListener(kind, handle);
  on("home", "click", () => {
    for (const cell of app.cells) {
      cell.lease.release();
      cell.clear();
    }
    app.choices.source = "";
    history.replaceState(null, "", location.pathname);
    app.listen();
    app.due.files = 0;
    app.layOut();
    app.refresh();
  });
  on("card-live", "click", () => app.chooseSource("platform"));
  on("card-csv", "click", () => app.chooseSource("csv"));
  on("asset", "click", () => app.toggleList());
  on("search", "input", () => {
    app.search = $("search").value;
    app.refresh();
  });
  on("search", "keydown", (event) => {
    if (event.key === "Enter" && app.watchlist.ids().length) app.chooseAsset(app.watchlist.ids()[0]);
    if (event.key === "Escape") {
      $("search").value = app.search = "";
      $("search").blur();
      app.refresh();
    }
  });
  on("file", "change", () => {
    Object.assign(app.active.choice, { file: $("file").value, tf: "" });
    openFile(app);
  });
  on("follow", "change", () => {
    app.choices.follow = $("follow").checked;
    app.renewLeases();
    app.follow();
    app.remember();
  });
  on("log", "change", () => app.setLog($("log").checked));
  on("zone", "change", () => app.setZone($("zone").value));
  on("grid", "change", () => app.setGrid(Number($("grid").value)));
  on("theme", "click", () => app.setTheme(!app.isDark));
  on("live", "click", () => app.active.chart.live());
  on("png", "click", () => app.savePicture());
  on("csv", "click", () => app.saveCsv());
  on("jump-form", "submit", (event) => {
    event.preventDefault();
    const shown = Date.parse(`${$("jump").value}Z`);
    if (Number.isFinite(shown)) app.active.jump(shown - zoneOffsetMs(app.choices.zone, shown, app.status?.platform_offset_ms));
    closeMenus();
  });
  $("indicators").append(...INDICATORS.map(([name, words]) => el("label", { className: "check" }, el("input", { type: "checkbox", value: name, onchange: (event) => app.setIndicator(name, event.target.checked) }), ` ${words}`)));
  on("help", "click", () => $("help-dialog").showModal());
  connectDrawer(app);
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => key(app, event));
  document.addEventListener("visibilitychange", () => {
    clearTimeout(app.restTimer);
    if (document.hidden) app.restTimer = setTimeout(() => app.feed.rest(), REST_AFTER_MS);
    else {
      for (const what of ["status", "streams", "gaps"]) app.due[what] = 0;
      app.look();
    }
  });
  addEventListener("pagehide", () => {
    for (const cell of app.cells) cell.lease.release();
    app.feed.rest();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) app.look();
  });
}

function key(app, event) {
  const isTyping = event.target.closest?.("input:not([type=checkbox]), select, textarea");
  if (event.key === "Escape") {
    closeMenus();
    if (!document.querySelector("dialog[open]")) toggleDrawer(app, false);
  }
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { chart } = app.active ?? {};
  const act = {
    "/": () => {
      app.toggleList(true);
      $("search").focus();
    },
    "?": () => $("help-dialog").showModal(),
    t: () => app.setTheme(!app.isDark),
    d: () => toggleDrawer(app),
  };
  if (app.choices.source) {
    Object.assign(act, {
      ArrowDown: () => step(app, 1),
      ArrowUp: () => step(app, -1),
      ArrowLeft: () => chart.pan(-0.15),
      ArrowRight: () => chart.pan(0.15),
      "+": () => chart.zoom(0.8),
      "-": () => chart.zoom(1.25),
      End: () => chart.live(),
      w: () => app.toggleList(),
      f: () => app.active.choice.asset && app.star(app.active.choice.asset),
      l: () => app.setLog(!app.choices.log),
      p: () => app.savePicture(),
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
function step(app, by) {
  if (!app.choices.list) app.watchlist.show(app.choices.source === "csv" ? csvRows(app) : app.assets.rows(app.search, app.choices.favourites), app.active.choice.asset, app.assets.sparks);
  const ids = app.watchlist.ids();
  const at = ids.indexOf(app.active.choice.asset);
  const next = ids[Math.max(0, Math.min(ids.length - 1, at < 0 ? 0 : at + by))];
  if (next && next !== app.active.choice.asset) app.chooseAsset(next);
}

/** Close the menus of the bar. */
export function closeMenus() {
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
}
