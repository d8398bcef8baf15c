// Words and figures of the page. Pure. Ages, labels, offsets and digits read as in every other client of fluxcap.

export const FLAGS = [
  { bit: 1, letter: "J", words: "joined late: its open is not known" },
  { bit: 2, letter: "B", words: "blind for a part of it" },
  { bit: 4, letter: "F", words: "filled from the platform's history" },
  { bit: 8, letter: "R", words: "revised after it was published" },
];
const STATES = {
  disconnected: { word: "Disconnected", tail: "", dot: "bad" },
  connecting: { word: "Connecting", tail: null, dot: "wait" },
  subscribed: { word: "Idle", tail: " ago", dot: "idle" },
  receiving: { word: "Live", tail: " ago", dot: "good" },
  stalled: { word: "Stale", tail: "", dot: "warn" },
};
const UNITS = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** "0.3s", "8.2s", "75s", "12m", "3h". */
export function ageText(ageMs) {
  const seconds = ageMs / 1_000;
  if (seconds < 60) return `${seconds.toFixed(1)}s`;
  if (seconds < 600) return `${evenRound(seconds)}s`;
  return seconds < 7_200 ? `${evenRound(seconds / 60)}m` : `${evenRound(seconds / 3_600)}h`;
}

/** "Live, 0.3s ago", "Stale, 8.2s", "Idle": one of five states and its age in milliseconds, null before the first tick. */
export function healthLabel(state, ageMs) {
  const { word, tail } = STATES[state];
  return ageMs === null || tail === null ? word : `${word}, ${ageText(ageMs)}${tail}`;
}

export function healthDot(state) {
  return STATES[state]?.dot ?? "off";
}

/** Milliseconds of "1m", "4h"; NaN of what is no interval. */
export function intervalMs(interval) {
  const match = /^([1-9][0-9]{0,5})([smhd])$/.exec(interval);
  return match ? Number(match[1]) * UNITS[match[2]] : NaN;
}

/** Digits behind the point that the prices need, at least 2. */
export function decimalsOf(prices, most = 8) {
  let found = 2;
  for (const price of prices) {
    const text = price.toFixed(most).replace(/0+$/, "");
    found = Math.max(found, text.length - text.indexOf(".") - 1);
  }
  return found;
}

/** Time left in words of a clock: "0:07", "12:05", "1:02:03". */
export function countdown(leftMs) {
  const seconds = Math.max(0, Math.ceil(leftMs / 1_000));
  const [hours, minutes, rest] = [Math.floor(seconds / 3_600), Math.floor(seconds / 60) % 60, seconds % 60];
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** "+2h", "-30m", "+2h15m", "0": how far the platform's clock is ahead of UTC; "-" while not known. */
export function offsetText(offsetMs) {
  if (offsetMs === null || offsetMs === undefined) return "-";
  const all = evenRound(Math.abs(offsetMs) / 60_000);
  if (!all) return "0";
  const [hours, minutes] = [Math.floor(all / 60), all % 60];
  return (offsetMs < 0 ? "-" : "+") + (hours ? `${hours}h` : "") + (minutes ? `${minutes}m` : "");
}

/** How long, roughly: "45 s", "12 min", "3 h 5 min", "2 d". */
export function durationText(ms) {
  const seconds = Math.max(0, Math.round(ms / 1_000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return `${Math.round(hours / 24)} d`;
  return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
}

/** Milliseconds that a time zone is ahead of UTC at a time. zone: "utc", "local" or "platform". */
export function zoneOffsetMs(zone, tsMs, platformOffsetMs) {
  if (zone === "local") return -new Date(tsMs).getTimezoneOffset() * 60_000;
  return zone === "platform" ? platformOffsetMs ?? 0 : 0;
}

/** "2026-11-30 04:12" of a time that was shifted by its zone's offset; with seconds where there are any. */
export function dateTimeText(shiftedMs) {
  const text = new Date(shiftedMs).toISOString();
  return `${text.slice(0, 10)} ${shiftedMs % 60_000 ? text.slice(11, 19) : text.slice(11, 16)}`;
}

/** The words of a candle's flags, the gravest first. */
export function flagWords(flags) {
  return FLAGS.filter(({ bit }) => flags & bit).map(({ words }) => words);
}

/** Change in percent: "+0.12%", "−0.03%". */
export function changeText(from, to) {
  if (!from || !Number.isFinite(to)) return "";
  const percent = ((to - from) / from) * 100;
  return `${percent < 0 ? "−" : "+"}${Math.abs(percent).toFixed(2)}%`;
}

/** Halves go to the even number, as Python rounds. */
function evenRound(value) {
  const floor = Math.floor(value);
  if (value - floor !== 0.5) return Math.round(value);
  return floor % 2 ? floor + 1 : floor;
}

function two(number) {
  return String(number).padStart(2, "0");
}
