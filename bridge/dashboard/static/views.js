// The parts around the charts: watchlist, start cards, toasts. They show what they are given.

import { ageText, changeText, decimalsOf, healthDot } from "./format.js";

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

/** Set a sentence; what stands between backticks in it is to be typed. */
export function tell(node, sentence) {
  if (node.dataset.says === sentence) return;
  node.dataset.says = sentence;
  node.replaceChildren(...sentence.split("`").map((part, place) => (place % 2 ? el("code", {}, part) : part)));
}

/** A sentence for a moment. */
export function toast(text, kind = "") {
  const note = el("div", { className: `toast ${kind}` });
  tell(note, text);
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

  /** rows: as `Assets.rows`; sparks: id → closes; none: what is said where there are no rows. */
  show(rows, chosen, sparks, none = "No asset of that name.") {
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
      this.empty ??= el("li", { className: "none" });
      say(this.empty, none);
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
    row.digits = Math.max(row.digits ?? 0, one.price === null ? 0 : decimalsOf([one.price, ...closes.slice(-20)]));
    say(row.price, one.price === null ? (one.note ? "" : "–") : one.price.toFixed(row.digits));
    say(row.note, one.note ?? (one.payout === null ? "" : `${one.payout}%`));
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
    row.node.ariaLabel = [one.name, one.isFavourite ? "favourite" : "", row.price.textContent, row.change.textContent, one.payout !== null && `pays ${row.note.textContent}`, one.reason].filter(Boolean).join(", ");
    row.node.title = one.reason ? `${one.name}: ${one.reason}` : one.name;
    if (row.node.getAttribute("aria-selected") !== String(isChosen)) row.node.setAttribute("aria-selected", isChosen);
  }
}

/** The start cards. */
export function fillCards({ asset, name, price, state, ageMs, reason, lostText, files }) {
  say($("card-live-asset"), lostText || (asset ? `It follows ${name}` : "The trading page shows no asset yet"));
  say($("card-live-price"), price === null ? "" : price.toFixed(decimalsOf([price])));
  $("card-live-state").parentElement.querySelector(".dot").className = `dot ${lostText ? "bad" : healthDot(state)}`;
  say($("card-live-state"), lostText ? "Not reachable" : ageMs === null ? reason : `tick ${ageText(ageMs)} ago`);
  if (!files) return;
  say($("card-csv-count"), files.length ? `${files.length} files of ${new Set(files.map((file) => file.symbol)).size} assets` : "No files yet");
  const newest = files[0];
  say($("card-csv-newest"), newest ? `newest: ${newest.filename}` : "");
}
