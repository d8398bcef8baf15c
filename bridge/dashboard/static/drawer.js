// The drawer below the charts: what happened today, and what one can have the daemon do.

import { ask, HAS_DAEMON, NO_DAEMON, Refused, send } from "./daemon.js";
import { dateTimeText, durationText, flagWords } from "./format.js";
import { agreementOf } from "./truth.js";
import { $, el, say, toast } from "./views.js";

const COLLECT = `Collect the history of all favourites of the trading page, in 1h, 15m, 5m and 1m?
fluxcap turns the page to each of them, and then back to what it showed. That takes some minutes; what is not seen meanwhile is recorded as a gap.`;
const RELOAD = "Reload the trading page in Chrome? The feed is blind for some seconds; the time is recorded as a gap.";
const COLLECTION_MS = { running: 1_000, stopping: 1_000 };
const COLLECTION_RARELY_MS = 10_000;

/** Open or close it. */
export function toggleDrawer(app, isOpen = $("drawer").hidden) {
  $("drawer").hidden = !isOpen;
  $("more").setAttribute("aria-expanded", String(isOpen));
  app.due.drawer = app.due.collection = app.due.status = app.due.gaps = 0;
  if (!isOpen || !app.active) return;
  askCollection(app);
  showDrawer(app, app.active);
}

/** What its buttons do, each after a question. */
export function connectDrawer(app) {
  const on = (name, kind, handle) => $(name).addEventListener(kind, handle);
  on("more", "click", () => toggleDrawer(app));
  on("drawer-close", "click", () => toggleDrawer(app, false));
  on("reload", "click", () => confirm(RELOAD, "Reload", async () => {
    const { pages } = await send("POST", "/api/reload");
    toast(pages === 1 ? "The trading page is being reloaded." : `${pages} pages are being reloaded.`);
  }));
  on("collect", "change", () => {
    const mode = $("collect").value;
    $("collect").blur();
    const before = app.status?.collect?.mode ?? app.status?.collect;
    confirm(mode === "none" ? "Stop writing CSV files?" : `Write ${mode === "both" ? "ticks and candles" : `${mode}s`} into CSV files from now on?`, mode === "none" ? "Stop" : "Write", async () => {
      await send("PUT", "/api/collect-mode", { mode });
      app.due.status = 0;
    }, () => {
      $("collect").value = before;
    });
  });
  on("history", "click", () => confirm(COLLECT, "Collect", async () => setCollection(app, await send("POST", "/api/collection", {}))));
  on("collection-stop", "click", () => confirm("Stop collecting? The page is turned back to what it showed; what was saved stays.", "Stop", async () => setCollection(app, await send("DELETE", "/api/collection"))));
  on("ask", "click", () => confirm("Have your browser ask once more whether fluxcap may read the trading page? Click Allow there.", "Ask", async () => {
    const { chrome_reason: reason } = await send("POST", "/api/chrome/ask");
    toast(reason || "The browser lets fluxcap in.");
    app.due.status = 0;
  }));
}

/** Ask how far the collection is: each second while one runs, else now and then while the drawer is open. */
export async function askCollection(app) {
  const everyMs = COLLECTION_MS[app.collection?.state];
  if ((!everyMs && $("drawer").hidden) || !app.isDue("collection", everyMs ?? COLLECTION_RARELY_MS)) return;
  try {
    setCollection(app, await ask("/api/collection"));
  } catch {
    // The bar below says that the daemon is not there.
  }
}

function setCollection(app, view) {
  const wasRunning = app.collection?.state in COLLECTION_MS;
  app.collection = view;
  app.due.collection = Date.now() + COLLECTION_MS.running;
  showCollection(app);
  if (wasRunning && view.state === "ended") {
    toast(collectionWords(view), view.error || view.failed.length ? "warn" : "");
    app.due.streams = app.due.files = 0;
  }
}

/** How far a collection is, or what it has saved, in a sentence. */
export function collectionWords({ state, done, total, told, error, failed }) {
  if (state === "stopping") return "Stopping; the page is turned back to what it showed …";
  if (state === "running") return told || (total ? `Collecting history: ${done} of ${total} saved.` : "Collecting history: looking at the page's favourites …");
  const missing = failed.slice(0, 3).map(({ asset, timeframe, reason }) => `${asset} ${timeframe} (${reason})`).join(", ");
  const more = failed.length > 3 ? ` and ${failed.length - 3} more` : "";
  return [told, error, failed.length ? `Missing: ${missing}${more}.` : ""].filter(Boolean).join(" ");
}

function showCollection({ collection, statusError }) {
  const isRunning = collection?.state in COLLECTION_MS;
  $("collection").hidden = !collection || collection.state === "none";
  $("history").disabled = !HAS_DAEMON || isRunning || Boolean(statusError);
  if ($("collection").hidden) return;
  const bar = $("collection-bar");
  bar.hidden = $("collection-stop").hidden = !isRunning;
  $("collection-stop").disabled = collection.state === "stopping";
  if (collection.total) Object.assign(bar, { max: collection.total, value: collection.done });
  else bar.removeAttribute("value");
  say($("collection-text"), collectionWords(collection));
}

/** Fill it anew. */
export function showDrawer(app, cell) {
  const { status, statusError } = app;
  fillDrawer({
    gaps: cell.gaps,
    rows: cell.series?.rows ?? [],
    differing: cell.chart.differing,
    agreement: agreementOf(status, cell.streamId),
    status,
    digits: cell.chart.digits,
    wordsMs: (ms) => app.wordsMs(ms),
    nowMs: Date.now(),
  });
  $("reload").disabled = !HAS_DAEMON || app.choices.source !== "platform" || Boolean(statusError);
  $("collect").disabled = !HAS_DAEMON || !status || Boolean(statusError);
  const mode = status?.collect?.mode ?? status?.collect;
  if (mode && document.activeElement !== $("collect")) $("collect").value = mode;
  showCollection(app);
}

/** Ask first. yes: the word of the button that does it; then: what it does; a refusal is told in the daemon's own sentence. */
export function confirm(words, yes, then, otherwise = () => {}) {
  const dialog = $("confirm");
  say($("confirm-text"), words);
  say($("confirm-yes"), yes);
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

/** Fill the drawer: gaps and flagged candles of the stream that is shown, what differs, counters. */
function fillDrawer({ gaps, rows, differing, agreement, status, digits, wordsMs, nowMs }) {
  const since = nowMs - (nowMs % 86_400_000);
  const when = (ms) => dateTimeText(wordsMs(ms)).slice(11);
  list("gaps", gaps.filter((gap) => !gap.to_ms || gap.to_ms > since).reverse(), (gap) => [
    `${when(gap.from_ms)} – ${gap.to_ms ? when(gap.to_ms) : "now"}`,
    `${durationText((gap.to_ms || nowMs) - gap.from_ms)}${gap.reason ? `, ${gap.reason}` : ""}`,
  ], "Nothing was missed today.");
  list("flagged", rows.filter((row) => row[7] && row[0] >= since).reverse(), (row) => [when(row[0]), flagWords(row[7]).join("; ")], "No candle has a flag today.");
  list("differing", [...differing].reverse(), ([ts, theirs]) => [dateTimeText(wordsMs(ts)), `platform: ${theirs.map((price) => price.toFixed(digits)).join(" ")}`], agreement ? agreement.text : "Nothing has been compared yet.");
  list("alerts", status?.alerts?.open ?? [], ({ kind, asset, since_ms }) => [when(since_ms), `${kind.replaceAll("_", " ")}${asset ? `, ${asset}` : ""}, not over`], alertsWords(status?.alerts));
  const counters = Object.entries(status?.counters ?? {});
  const lines = counters.flatMap(([name, count]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, count.toLocaleString("en"))]);
  $("counters").replaceChildren(...(lines.length ? lines : [el("dt", {}, "not known")]));
}

/** The alerts where none is open. */
function alertsWords(alerts) {
  if (!alerts) return "None are sent: the setting alerts has no address.";
  const told = Object.values(alerts.told).reduce((sum, count) => sum + count, 0);
  return told ? `None is open; ${told} told since the start.` : "None since the start.";
}

function list(name, items, words, none) {
  const lines = items.slice(0, 100).map((item) => {
    const [head, text] = words(item);
    return el("li", {}, el("b", {}, head), ` ${text}`);
  });
  $(name).replaceChildren(...(lines.length ? lines : [el("li", { className: "soft" }, none)]));
}
