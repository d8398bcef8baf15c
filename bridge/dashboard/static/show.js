// All words and figures of the page: what changes with a choice, and what moves with time.

import { HAS_DAEMON } from "./daemon.js";
import { showDrawer } from "./drawer.js";
import { csvRows, filesOf } from "./files.js";
import { countdown } from "./format.js";
import { agreementOf, canAsk, figuresOf, obstacleOf, Rate } from "./truth.js";
import { $, el, fillCards, say, tell } from "./views.js";

/** What changes only when something is chosen. */
export function layOut(app) {
  const { choices } = app;
  const cell = app.active;
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
  markActive(app);
  const isCsv = choices.source === "csv";
  $("file-label").hidden = !isCsv || filesOf(app, cell?.choice.asset).length < 2;
  if (isCsv && cell) {
    $("file").replaceChildren(...filesOf(app, cell.choice.asset).map((file) => el("option", { value: file.path, selected: file.path === cell.choice.file }, `${file.isTick ? "tick" : file.timeframe} ${file.filename.replace(/\.csv$/, "").slice(file.symbol.length + 1)}`)));
  }
}

/** Frame the chart that keys and watchlist turn. */
export function markActive(app) {
  const { grid, active } = app.choices;
  app.cells.forEach((one, place) => one.node.classList.toggle("active", grid > 1 && place === active));
}

/** All that moves with time. */
export function refresh(app) {
  const { choices, status } = app;
  $("truth").hidden = !choices.source && !app.obstacle();
  if (!choices.source) {
    showCards(app);
    showTruth(app, null);
    return;
  }
  const isCsv = choices.source === "csv";
  for (const cell of app.cells) refreshCell(app, cell, isCsv);
  const cell = app.active;
  if (!cell) return;
  const { asset } = cell.choice;
  say($("asset-name"), asset ? app.nameOf(cell) : "Choose an asset");
  const payout = isCsv || !asset ? null : app.assets.payoutOf(asset);
  say($("asset-note"), payout === null ? "" : `${payout}%`);
  showTimeframes(app, cell, isCsv);
  if (choices.list) app.watchlist.show(isCsv ? csvRows(app) : app.assets.rows(app.search, choices.favourites), asset, app.assets.sparks, app.search ? undefined : isCsv ? "No files yet." : "No asset yet.");
  if (choices.list && !isCsv) for (const id of app.watchlist.ids().slice(0, 60)) if (!app.assets.sparks.has(id)) app.askSpark(id);
  showTruth(app, isCsv ? null : cell);
  const last = cell.series?.last;
  const name = asset ? app.nameOf(cell) : "";
  const title = asset && last && !isCsv ? `${last[4].toFixed(cell.chart.digits)} ${name}` : name || "fluxcap";
  if (document.title !== title) document.title = title;
  if (!$("drawer").hidden && app.isDue("drawer", 1_000)) showDrawer(app, cell);
}

function refreshCell(app, cell, isCsv) {
  const { choice, series } = cell;
  const offset = app.status?.platform_offset_ms ?? null;
  cell.chart.setZone(app.choices.zone, offset);
  const hasRows = Boolean(series?.rows.length || series?.forming);
  if (isCsv) {
    const isReading = Boolean(choice.file && !cell.file && !cell.error);
    if (cell.error) cell.say("This file cannot be shown", cell.error);
    else if (!app.files) cell.say("Looking for files", "", true);
    else if (!app.files.length) cell.say("No collected files", "Collect history, or have candles written to CSV from now on: both are under Details.");
    else if (isReading) cell.say("Reading the file", choice.file.split(/[/\\]/).pop(), true);
    else if (!choice.asset) cell.say("Choose an asset", "Collected candles have every timeframe from their own on.");
    else if (!hasRows) cell.say("This file holds no candles");
    else cell.say("");
    cell.banner.hidden = true;
    cell.chart.setCountdown("");
    return;
  }
  const obstacle = app.obstacle() || cell.lease.error;
  const health = cell.health.now(Date.now());
  const isUnknown = choice.asset && !app.obstacle() && app.streamsKnown && app.assets.listed.size && !app.assets.isKnown(choice.asset);
  const why = isUnknown ? `The platform has no asset ${choice.asset}.` : obstacle;
  if (why) cell.chart.endLive();
  if (!choice.asset) cell.say(obstacle || "Choose an asset", obstacle ? "This page goes on by itself." : app.choices.follow ? "The trading page has not shown its asset yet; click on one there." : "Live candles start immediately.");
  else if (hasRows) cell.say("");
  else if (why) cell.say("Not live", why);
  else if (!cell.isFresh) cell.say("Loading candles", "", true);
  else cell.say("No candle yet", health.reason && health.state !== "receiving" ? `${capital(health.reason)}. ${health.todo}` : `Waiting for the first ${app.timeframeOf(cell)} candle.`, true);
  const words = why ? `Not live. ${why}${isUnknown ? "" : " It goes on by itself."}` : health.needsSomebody ? `${capital(health.reason)}. ${health.todo}` : "";
  cell.banner.hidden = !(words && hasRows);
  if (words) tell(cell.banner, words);
  const forming = series?.forming;
  cell.chart.setCountdown(forming ? countdown(forming[0] + series.stepMs - app.serverNow()) : "");
  if (!cell.hover) cell.showLegend();
}

function showTimeframes(app, cell, isCsv) {
  const group = $("timeframes");
  const known = isCsv ? cell.file?.timeframes ?? [] : cell.choice.asset ? app.assets.timeframes(cell.choice.asset) : [];
  const chosen = app.timeframeOf(cell);
  const wanted = `${known.join()}|${chosen}`;
  if (group.dataset.shows === wanted) return;
  group.dataset.shows = wanted;
  group.replaceChildren(...known.map((interval) => el("button", { ariaPressed: String(interval === chosen), onclick: () => app.chooseTimeframe(interval), title: `Candles of ${interval}` }, interval)));
}

function showTruth(app, cell) {
  const isCsv = app.choices.source === "csv";
  let view = { dot: "off", label: isCsv ? "Collected file" : "Off", reason: "", todo: "" };
  const obstacle = app.obstacle();
  if (cell?.choice.asset) view = cell.health.now(Date.now());
  else if (obstacle) view = { dot: "bad", label: "Disconnected", reason: obstacle, todo: "" };
  // Who does not answer any more may not be quoted.
  if (cell && app.statusError && view.state !== "disconnected") view = { ...view, dot: "bad", reason: app.statusError, todo: "" };
  if (cell && obstacle && view.state === "receiving") view = { ...view, dot: "bad", label: "Stale", reason: obstacle };
  if (cell && !view.todo && app.status?.no_candles && view.state !== "receiving" && !view.reason.includes("quiet")) view = { ...view, todo: app.status.no_candles };
  $("dot").className = `dot ${view.dot}`;
  say($("label"), view.label);
  tell($("reason"), view.reason);
  tell($("todo"), view.todo);
  $("ask").hidden = isCsv || !canAsk(app.status) || Boolean(app.statusError);
  const agreement = cell ? agreementOf(app.status, cell.streamId) : null;
  say($("fact-agreement"), agreement?.text ?? "-");
  $("agreement-figure").hidden = isCsv;
  $("agreement-figure").classList.toggle("bad", agreement !== null && !agreement.isWhole);
  const symbol = cell ? app.assets.meant(cell.choice.asset).symbol : "";
  const asset = app.status?.assets?.find((one) => one.symbol === symbol);
  if (app.rateOf !== symbol) {
    app.rate = new Rate();
    app.rateNow = null;
    app.rateOf = symbol;
  }
  if (asset && app.rateAt !== app.status.server_time_ms) {
    app.rateAt = app.status.server_time_ms;
    app.rateNow = app.rate.look(app.status.server_time_ms, asset.ticks);
  }
  const forming = cell?.series?.forming;
  const nextMs = forming ? forming[0] + cell.series.stepMs - app.serverNow() : null;
  const figures = cell ? figuresOf(app.status, cell.series, cell.streamId, app.rateNow, nextMs) : [];
  const node = $("figures");
  if (node.childElementCount !== figures.length) node.replaceChildren(...figures.map(([name]) => el("span", { className: "figure" }, el("span", { className: "soft" }, name), " ", el("span", { dataset: { test: `fact-${name.replace(" ", "-")}` } }))));
  figures.forEach(([, value], place) => say(node.children[place].lastElementChild, value));
}

function showCards(app) {
  const { status, assets } = app;
  const asset = status?.detected_asset || status?.focus_symbols?.[0] || (HAS_DAEMON ? "" : app.first());
  const one = status?.assets?.find((found) => found.symbol === asset);
  const { state, reason } = asset ? assets.stateOf(asset) : { state: "", reason: "" };
  fillCards({
    asset,
    name: asset ? assets.nameOf(asset) : "",
    price: asset ? assets.priceOf(asset) : null,
    state,
    reason: obstacleOf(status) || reason || status?.no_candles || "",
    ageMs: one?.last_tick_ts_ms && !obstacleOf(status) ? Math.max(0, status.server_time_ms - one.last_tick_ts_ms) : null,
    lostText: HAS_DAEMON && app.statusError ? app.statusError : "",
    files: app.files,
  });
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
