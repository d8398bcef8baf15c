// The page: favourites, timeframe menu, live price. Where its market socket lives is chosen by ?socket=
// page (default) | worker | sharedworker | serviceworker | frame | late (opened by the button or site.open()).
// ?ws=HOST[:PORT] ?chat=HOST[:PORT] ?frame=HOST[:PORT] name other hosts for the sockets and the frame.
"use strict";

const PERIODS = { M1: 60, M5: 300, M15: 900, H1: 3600, H4: 14400 };
const query = new URLSearchParams(location.search);
const onLoopback = ["localhost", "127.0.0.1"].includes(location.hostname);
const HOSTS = {
  market: query.get("ws") || (onLoopback ? location.host : "demo-api-eu.po.market"),
  chat: query.get("chat") || (onLoopback ? location.host : "chat-po.site"),
  cabinet: query.get("ws") || (onLoopback ? location.host : "cabinet.po.market"),
  frame: query.get("frame") || (onLoopback ? `localhost:${location.port}` : "trade.po.market"),
};
const assets = new Map(SITE.assets.map((asset) => [asset.symbol, asset]));
const chart = new CandleChart(document.querySelector("#js-chart"));
const $ = (selector) => document.querySelector(selector);

const site = {
  kind: query.get("socket") || "page",
  state: "idle",
  ticks: 0,
  symbol: null,
  period: 60,
  prices: {},
  histories: [],
  lastTick: null,
  emit: () => {},
  open: openMarket,
  choose,
  choosePeriod,
};
window.site = site;

function socketUrl(kind, path) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  return `${scheme}://${HOSTS[kind]}${path}?EIO=4&transport=websocket`;
}

// --- sockets ---------------------------------------------------------------------------------------------------------

function openMarket() {
  $("#js-connect").hidden = true;
  const open = { url: socketUrl("market", "/socket.io/"), auth: SITE.auth };
  const carriers = { worker: inWorker, sharedworker: inSharedWorker, serviceworker: inServiceWorker, frame: inFrame };
  (carriers[site.kind] || inPage)(open);
}

function inPage(open) {
  const socket = new MarketSocket({ ...open, onEvent, onState });
  site.emit = (...event) => socket.emit(...event);
  site.socket = socket;
  socket.open();
}

function bridged(post, open) {
  site.emit = (...event) => post({ emit: event });
  post({ open });
  return (message) => {
    if (message.data.event) onEvent(...message.data.event);
    else if (message.data.state) onState(message.data.state);
  };
}

function inWorker(open) {
  const worker = new Worker("/worker.js");
  worker.onmessage = bridged((message) => worker.postMessage(message), open);
}

function inSharedWorker(open) {
  const { port } = new SharedWorker("/sharedworker.js");
  port.onmessage = bridged((message) => port.postMessage(message), open);
}

async function inServiceWorker(open) {
  await navigator.serviceWorker.register("/serviceworker.js");
  const { active } = await navigator.serviceWorker.ready;
  navigator.serviceWorker.onmessage = bridged((message) => active.postMessage(message), open);
  setInterval(() => active.postMessage({}), 10000);
}

function inFrame(open) {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  let receive = null;
  window.addEventListener("message", (message) => {
    if (message.source !== frame.contentWindow) return;
    if (message.data.ready) receive = bridged((data) => frame.contentWindow.postMessage(data, "*"), open);
    else if (receive) receive(message);
  });
  frame.src = `${location.protocol}//${HOSTS.frame}/frame`;
  document.body.append(frame);
}

function openOthers() {
  for (const [kind, path] of [["chat", "/chat/socket.io/"], ["cabinet", "/cabinet/socket.io/"]]) {
    new MarketSocket({ url: socketUrl(kind, path), auth: null, onEvent: () => {}, onState: () => {} }).open();
  }
}

// --- events ----------------------------------------------------------------------------------------------------------

const handlers = {
  updateStream: (rows) => rows.forEach(onTick),
  updateHistoryNewFast: onHistory,
  updateCharts: (charts) => {
    const settings = JSON.parse(charts[0].settings);
    show(settings.symbol, settings.fastTimeframe);
  },
  "successfavorite/change": showFavourites,
  successupdateBalance: ({ balance }) => {
    $(".balance-info-block__balance").textContent = balance.toLocaleString("en", { minimumFractionDigits: 2 });
  },
};

function onEvent(name, data) {
  if (!Object.hasOwn(handlers, name)) return;
  try {
    handlers[name](data);
  } catch (error) {
    console.debug("not understood", name, String(error)); // garbage from the server must not end the page
  }
}

function onTick([symbol, seconds, price]) {
  const plausible = Math.abs(seconds - Date.now() / 1000) < 86400;
  if (!assets.has(symbol) || !(price > 0) || !plausible) return;
  site.ticks += 1;
  site.lastTick = [symbol, seconds, price];
  site.prices[symbol] = price;
  if (symbol === site.symbol) {
    chart.tick(seconds, price);
    site.dirty = true;
  }
}

function onHistory(payload) {
  site.histories.push({ asset: payload.asset, period: payload.period, ticks: payload.history.length });
  show(payload.asset, payload.period);
  chart.load(payload, assets.get(payload.asset).decimals);
  const oldest = payload.candles.at(-1);
  if (oldest) {
    const index = Math.round(Date.now() / 10);
    site.emit("loadHistoryPeriod", { asset: payload.asset, period: payload.period, time: oldest[0], index, offset: 9000 });
  }
  site.dirty = true;
}

function onState(state) {
  site.state = state;
  const texts = { connecting: "connecting…", connected: "connected", reconnecting: "reconnecting…", refused: "refused" };
  $("#js-connection").dataset.state = state;
  $("#js-connection .connection__text").textContent = texts[state];
}

// --- what the trader does --------------------------------------------------------------------------------------------

function choose(symbol) {
  show(symbol, site.period);
  site.emit("changeSymbol", { asset: symbol, period: site.period });
  saveCharts();
}

function choosePeriod(seconds) {
  show(site.symbol, seconds);
  site.emit("changeSymbol", { asset: site.symbol, period: seconds });
  saveCharts();
}

function saveCharts() {
  const settings = JSON.stringify({ chartId: "chart-1", symbol: site.symbol, fastTimeframe: site.period });
  site.emit("saveCharts", [{ chart_id: "chart-1", settings }]);
}

function show(symbol, period) {
  if (symbol !== site.symbol || period !== site.period) chart.clear();
  site.symbol = symbol;
  site.period = period;
  $(".current-symbol").textContent = assets.get(symbol)?.name ?? symbol;
  const label = Object.keys(PERIODS).find((key) => PERIODS[key] === period) ?? `${period} s`;
  $(".items__period").textContent = label;
  for (const item of document.querySelectorAll(".assets-favorites-item")) {
    item.classList.toggle("assets-favorites-item--active", item.dataset.id === symbol);
  }
  for (const entry of document.querySelectorAll(".list-timeframes a")) {
    entry.classList.toggle("active", entry.textContent === label);
  }
  site.dirty = true;
}

// --- favourites ------------------------------------------------------------------------------------------------------

function showFavourites(symbols) {
  const items = symbols.filter((symbol) => assets.has(symbol)).map(favourite);
  $(".assets-favorites-list__in").replaceChildren(...items);
  show(site.symbol, site.period);
  showArrows();
}

function favourite(symbol) {
  const asset = assets.get(symbol);
  const item = element("div", "animated assets-favorites-item");
  item.dataset.id = symbol;
  const line = element("div", "assets-favorites-item__line");
  line.append(element("span", "assets-favorites-item__label", asset.name));
  const payout = element("div", "payout");
  const inside = element("div", "payout__in");
  inside.append(element("span", "payout__number", `+${asset.payout}`), element("span", "payout__symbol", "%"));
  payout.append(inside);
  line.append(payout);
  item.append(line);
  line.addEventListener("click", () => choose(symbol));
  return item;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

const strip = $(".assets-favorites-list__wrap");
const [left, right] = [$(".assets-favorites-arrow--left"), $(".assets-favorites-arrow--right")];

function showArrows() {
  const end = strip.scrollWidth - strip.clientWidth;
  left.classList.toggle("assets-favorites-arrow--disabled", strip.scrollLeft <= 1);
  right.classList.toggle("assets-favorites-arrow--disabled", strip.scrollLeft >= end - 1);
}

left.addEventListener("click", () => strip.scrollBy({ left: -360, behavior: "smooth" }));
right.addEventListener("click", () => strip.scrollBy({ left: 360, behavior: "smooth" }));
strip.addEventListener("scroll", showArrows);
window.addEventListener("resize", showArrows);

// --- timeframe menu --------------------------------------------------------------------------------------------------

const opener = $("a.items__link--chart-type");
const menu = $(".drop-down-modal--chart-type");

function toggleMenu(open) {
  menu.hidden = !open;
  opener.setAttribute("aria-expanded", String(open));
}

for (const [label, seconds] of Object.entries(PERIODS)) {
  const row = document.createElement("li");
  const entry = element("a", "list-timeframes__link", label);
  entry.setAttribute("role", "button");
  entry.addEventListener("click", () => {
    toggleMenu(false);
    choosePeriod(seconds);
  });
  row.append(entry);
  $(".list-timeframes").append(row);
}
opener.addEventListener("click", (event) => {
  event.stopPropagation();
  toggleMenu(menu.hidden);
});
document.addEventListener("click", (event) => menu.contains(event.target) || toggleMenu(false));
document.addEventListener("keydown", (event) => event.key === "Escape" && toggleMenu(false));

// --- drawing ---------------------------------------------------------------------------------------------------------

let before = null;

// Four times a second is enough for eyes; every frame would keep a core busy on a machine without a graphics card.
setInterval(() => site.dirty && requestAnimationFrame(draw), 250);

function draw() {
  if (!site.dirty) return;
  site.dirty = false;
  chart.draw();
  $("#js-ticks").textContent = site.ticks.toLocaleString("en");
  const price = site.prices[site.symbol] ?? chart.lastPrice;
  if (price === undefined || price === null) return;
  $(".live-price__value").textContent = price.toFixed(assets.get(site.symbol).decimals);
  if (before !== null && before !== price) $(".live-price").dataset.move = price > before ? "up" : "down";
  before = price;
  if (site.lastTick) $("#js-time").textContent = new Date(site.lastTick[1] * 1000).toISOString().slice(11, 19);
}

window.addEventListener("resize", () => (site.dirty = true));
$("#js-kind").textContent = site.kind;
$("#js-connect").addEventListener("click", openMarket);
showFavourites(SITE.assets.map((asset) => asset.symbol));
if (site.kind === "late") $("#js-connect").hidden = false;
else openMarket();
openOthers();
