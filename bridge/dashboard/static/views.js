// The parts around the charts: watchlist, drawer, start cards, toasts. They show what they are given.

import { ageText, changeText, dateTimeText, decimalsOf, durationText, flagWords, healthDot } from "./format.js";

export const $ = (name) => document.querySelector(`[data-test="${name}"]`);

/** An element with properties and what lies within. */
export function el(tag, fields = {}, ...inner) {
  const { dataset, ...rest } = fields;
  const made = Object.assign(document.createElement(tag), rest);
  Object.assign(made.dataset, dataset);
  made.append(...inner);
  return made;
}

/** Set a text only where it changes. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** A sentence for a moment. */
export function toast(text, kind = "") {
  const note = el("div", { className: `toast ${kind}` }, text);
  $("toasts").append(note);
  setTimeout(() => note.remove(), 6_000);
}

const SPARK = { width: 64, height: 20 };

/** The points of a spark line. */
export function sparkPoints(closes) {
  if (closes.length < 2) return "";
  const [low, high] = [Math.min(...closes), Math.max(...closes)];
  const height = SPARK.height - 2;
  return closes
    .map((close, i) => `${((i * SPARK.width) / (closes.length - 1)).toFixed(1)},${(1 + height - (high > low ? ((close - low) / (high - low)) * height : height / 2)).toFixed(1)}`)
    .join(" ");
}

export class Watchlist {
  /** onChoose(id), onStar(id), onSpark(id): a row without a spark line is seen. */
  constructor({ onChoose, onStar, onSpark }) {
    this.list = $("watchlist");
    this.rows = new Map();
    this.onSpark = onSpark;
    this.list.addEventListener("click", (event) => {
      const row = event.target.closest("li");
      if (!row) return;
      if (event.target.closest(".star")) onStar(row.dataset.id);
      else onChoose(row.dataset.id);
    });
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.onSpark(entry.target.dataset.id);
    });
  }

  /** rows: as `Assets.rows`; sparks: id → closes. */
  show(rows, chosen, sparks) {
    for (const [id, row] of this.rows) {
      if (!rows.some((one) => one.id === id)) {
        this.seen.unobserve(row.node);
        row.node.remove();
        this.rows.delete(id);
      }
    }
    let before = null;
    for (const one of rows) {
      const row = this.rows.get(one.id) ?? this.make(one.id);
      const place = before ? before.nextSibling : this.list.firstChild;
      if (row.node !== place) this.list.insertBefore(row.node, place);
      before = row.node;
      this.fill(row, one, one.id === chosen, sparks.get(one.id) ?? []);
    }
    if (!rows.length) {
      this.empty ??= el("li", { className: "none" }, "No asset of that name.");
      if (!this.empty.isConnected) this.list.append(this.empty);
    } else this.empty?.remove();
    const chosenRow = this.rows.get(chosen)?.node;
    if (chosenRow) this.list.setAttribute("aria-activedescendant", chosenRow.id);
    if (chosenRow && chosen !== this.shown) chosenRow.scrollIntoView({ block: "nearest" });
    this.shown = chosen;
  }

  ids() {
    return [...this.list.querySelectorAll("li[data-id]")].map((node) => node.dataset.id);
  }

  make(id) {
    const parts = Object.fromEntries(["star", "name", "price", "note", "change"].map((name) => [name, el("span", { className: name })]));
    parts.star.setAttribute("aria-hidden", "true"); // by the key F, too
    parts.line = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    parts.line.setAttribute("viewBox", `0 0 ${SPARK.width} ${SPARK.height}`);
    parts.line.setAttribute("aria-hidden", "true");
    parts.points = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    parts.line.append(parts.points);
    parts.dot = el("i", { className: "dot" });
    const node = el("li", { role: "option", id: `row-${id}`, dataset: { id } }, parts.star, parts.dot, parts.name, parts.price, parts.note, parts.line, parts.change);
    const row = { node, ...parts };
    this.rows.set(id, row);
    this.seen.observe(node);
    return row;
  }

  fill(row, one, isChosen, closes) {
    say(row.name, one.name);
    row.digits = Math.max(row.digits ?? 0, one.price === null ? 0 : decimalsOf([one.price]));
    say(row.price, one.price === null ? "–" : one.price.toFixed(row.digits));
    say(row.note, one.payout === null ? "" : `${one.payout}%`);
    const change = changeText(closes[0], one.price ?? NaN);
    say(row.change, change);
    const direction = change.startsWith("−") ? "down" : "up";
    if (row.change.className !== `change ${direction}`) row.change.className = `change ${direction}`;
    const points = sparkPoints(one.price === null ? closes : [...closes, one.price]);
    if (row.points.getAttribute("points") !== points) row.points.setAttribute("points", points);
    row.points.setAttribute("class", direction);
    say(row.star, one.isFavourite ? "★" : "☆");
    row.star.title = one.isFavourite ? "No favourite any more" : "Favourite";
    const dot = `dot ${healthDot(one.state)}`;
    if (row.dot.className !== dot) row.dot.className = dot;
    row.node.ariaLabel = [one.name, one.isFavourite ? "favourite" : "", row.price.textContent, row.change.textContent, row.note.textContent && `pays ${row.note.textContent}`, one.reason].filter(Boolean).join(", ");
    row.node.title = one.reason ? `${one.name}: ${one.reason}` : one.name;
    if (row.node.getAttribute("aria-selected") !== String(isChosen)) row.node.setAttribute("aria-selected", isChosen);
  }
}

/** Fill the drawer: gaps and flagged candles of the stream that is shown, what differs, counters. */
export function fillDrawer({ gaps, rows, differing, agreement, status, digits, wordsMs, nowMs }) {
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

/** The start cards. */
export function fillCards({ asset, name, price, state, ageMs, reason, lostText, files }) {
  say($("card-live-asset"), lostText || (asset ? `It follows ${name}` : "The trading page shows no asset yet"));
  say($("card-live-price"), price === null ? "" : price.toFixed(decimalsOf([price])));
  $("card-live-state").parentElement.querySelector(".dot").className = `dot ${lostText ? "bad" : healthDot(state)}`;
  say($("card-live-state"), lostText ? "Not reachable" : ageMs === null ? reason : `tick ${ageText(ageMs)} ago`);
  if (!files) return;
  say($("card-csv-count"), files.length ? `${files.length} files of ${new Set(files.map((file) => file.symbol)).size} assets` : "No files yet: collect some with fluxcap collect");
  const newest = files[0];
  say($("card-csv-newest"), newest ? `newest: ${newest.filename}` : "");
}
