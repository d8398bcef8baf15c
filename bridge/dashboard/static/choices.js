// What the user chose: in the address, so that it can be a bookmark, and remembered. Pure.

export const ZONES = ["utc", "local", "platform"];
export const GRIDS = [1, 2, 4];
const PLAIN = { source: "", theme: "", zone: "utc", log: false, list: true, follow: false, grid: 1, active: 0 };
const NAME = /^[#A-Za-z0-9~][A-Za-z0-9_#&~:.-]{0,190}$/;
const INTERVAL = /^[1-9][0-9]{0,5}[smhd]$/;

/** A choice of nothing yet. */
export function noChoices() {
  return { ...PLAIN, indicators: [], favourites: [], charts: [noChart()] };
}

/** One chart: asset ("" none yet), timeframe, file of a CSV source, bars that are seen, and the time it ends at (0 live). */
export function noChart() {
  return { asset: "", tf: "", file: "", bars: 0, to: 0 };
}

/** The address's choices over the remembered ones. search: "?source=platform&asset=…"; memory: what `toMemory` wrote. */
export function readChoices(search, memory) {
  const found = fromMemory(memory);
  const asked = new URLSearchParams(search);
  if (asked.has("start")) return { ...found, source: "" };
  if (["platform", "csv"].includes(asked.get("source"))) {
    // An address says it all: what it leaves out is not what another day had.
    if (found.source !== asked.get("source")) found.charts = [noChart()];
    found.source = asked.get("source");
    const grid = Number(asked.get("grid") ?? 1);
    found.grid = GRIDS.includes(grid) ? grid : 1;
    const assets = asked.getAll("asset");
    const known = found.charts;
    found.charts = Array.from({ length: found.grid }, (_, place) => ({
      ...noChart(),
      asset: name(assets[place] ?? (assets.length ? "" : known[place]?.asset ?? "")),
      tf: interval(asked.getAll("tf")[place] ?? ""),
      file: asked.getAll("file")[place] ?? "",
      bars: whole(asked.getAll("bars")[place], 100_000),
      to: whole(asked.getAll("to")[place], 4_102_444_800_000),
    }));
    found.follow = asked.get("follow") === "1";
    found.active = 0;
  }
  if (["dark", "light"].includes(asked.get("theme"))) found.theme = asked.get("theme");
  if (ZONES.includes(asked.get("zone"))) found.zone = asked.get("zone");
  if (asked.has("log")) found.log = asked.get("log") === "1";
  if (asked.has("ind")) found.indicators = indicators(asked.get("ind").split(","));
  return found;
}

/** The address of the choices, from "?" on; "" before a source is chosen. */
export function toAddress(choices) {
  if (!choices.source) return "";
  const pairs = [["source", choices.source]];
  const one = choices.grid === 1;
  for (const chart of choices.charts.slice(0, choices.grid)) {
    if (chart.asset || !one) pairs.push(["asset", chart.asset]);
    if (chart.tf || !one) pairs.push(["tf", chart.tf]);
    if (chart.file) pairs.push(["file", chart.file]);
    if (chart.bars || !one) pairs.push(["bars", chart.bars]);
    if (chart.to || !one) pairs.push(["to", chart.to]);
  }
  if (choices.follow) pairs.push(["follow", "1"]);
  if (!one) pairs.push(["grid", choices.grid]);
  if (choices.theme) pairs.push(["theme", choices.theme]);
  if (choices.zone !== "utc") pairs.push(["zone", choices.zone]);
  if (choices.log) pairs.push(["log", "1"]);
  if (choices.indicators.length) pairs.push(["ind", choices.indicators.join(",")]);
  return `?${pairs.map(([key, value]) => `${key}=${encodeURIComponent(value).replaceAll("%2C", ",")}`).join("&")}`;
}

/** The choices as text to remember. */
export function toMemory(choices) {
  return JSON.stringify(choices);
}

function fromMemory(memory) {
  const found = noChoices();
  let kept;
  try {
    kept = JSON.parse(memory || "{}");
  } catch {
    return found;
  }
  if (typeof kept !== "object" || kept === null) return found;
  if (["platform", "csv"].includes(kept.source)) found.source = kept.source;
  if (["dark", "light"].includes(kept.theme)) found.theme = kept.theme;
  if (ZONES.includes(kept.zone)) found.zone = kept.zone;
  if (GRIDS.includes(kept.grid)) found.grid = kept.grid;
  for (const key of ["log", "list", "follow"]) if (typeof kept[key] === "boolean") found[key] = kept[key];
  found.indicators = indicators(list(kept.indicators));
  found.favourites = list(kept.favourites).map(name).filter(Boolean).slice(0, 500);
  found.charts = list(kept.charts).slice(0, 4).map((chart) => ({
    asset: name(chart?.asset),
    tf: interval(chart?.tf),
    file: typeof chart?.file === "string" ? chart.file : "",
    bars: whole(chart?.bars, 100_000),
    to: 0, // yesterday's place in time is not where one wants to begin
  }));
  while (found.charts.length < found.grid) found.charts.push(noChart());
  return found;
}

function list(value) {
  return Array.isArray(value) ? value : [];
}

function name(value) {
  return typeof value === "string" && NAME.test(value) ? value : "";
}

function interval(value) {
  return typeof value === "string" && INTERVAL.test(value) ? value : "";
}

function whole(value, most) {
  const number = Math.round(Number(value ?? 0));
  return Number.isFinite(number) && number >= 0 && number <= most ? number : 0;
}

function indicators(names) {
  return [...new Set(names.filter((one) => typeof one === "string" && /^(sma|ema|bb|rsi)[1-9][0-9]{0,2}$/.test(one)))].slice(0, 8);
}
