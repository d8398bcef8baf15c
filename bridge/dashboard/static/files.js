// Collected files: which there are, and one of them on a chart.

import { ask, NO_DAEMON, Refused } from "./daemon.js";
import { intervalMs } from "./format.js";
import { toast } from "./views.js";

/** Ask which there are, and show those that were chosen; of another source's asset, if there is a file of it. */
export async function openFiles(app, asset) {
  await app.askFiles();
  if (app.choices.source !== "csv") return;
  const known = new Set(app.files.map((file) => file.symbol));
  const { choice } = app.active;
  choice.asset ||= asset && known.has(asset) ? asset : "";
  if (asset && !choice.asset) toast(`${asset} is not in the collected files; choose another asset.`, "warn");
  for (const cell of app.cells) if (!cell.file && !cell.isReading) openFile(app, cell);
  app.layOut();
  app.refresh();
}

/** The files of an asset, newest first. */
export function filesOf(app, asset) {
  return (app.files ?? []).filter((file) => file.symbol === asset);
}

/** Show the chosen file of a chart, else the newest of its asset. */
export async function openFile(app, cell = app.active) {
  const { choice } = cell;
  const files = filesOf(app, choice.asset);
  const file = files.find((one) => one.path === choice.file) ?? files[0];
  choice.file = file?.path ?? "";
  cell.error = "";
  if (!file) {
    cell.clear();
    return;
  }
  cell.file = null;
  cell.isReading = true;
  try {
    const query = new URLSearchParams({ file: file.path, timeframe: choice.tf, kind: file.isTick ? "tick" : file.timeframe || "1m" });
    const found = await ask(`/api/csv-candles?${query}`);
    if (choice.file !== file.path || app.choices.source !== "csv") return;
    choice.tf = found.timeframe;
    cell.file = found;
    cell.showRows(found.candles, intervalMs(found.timeframe));
  } catch (error) {
    cell.clear();
    cell.error = error instanceof Refused ? error.message : NO_DAEMON;
  } finally {
    cell.isReading = false;
  }
  app.remember();
  app.layOut();
  cell.showLegend();
  app.refresh();
}

/** The watchlist's rows: an asset each. */
export function csvRows(app) {
  const byAsset = new Map();
  for (const file of app.files ?? []) byAsset.set(file.symbol, (byAsset.get(file.symbol) ?? 0) + 1);
  const wanted = app.search.toUpperCase().replace(/[^A-Z0-9]/g, "");
  return [...byAsset]
    .filter(([symbol]) => symbol.toUpperCase().replace(/[^A-Z0-9]/g, "").includes(wanted))
    .map(([symbol, count]) => ({ id: symbol, name: symbol, price: null, payout: null, note: count === 1 ? "1 file" : `${count} files`, isFavourite: app.choices.favourites.includes(symbol), state: "", reason: "" }))
    .sort((a, b) => b.isFavourite - a.isFavourite || a.name.localeCompare(b.name));
}
