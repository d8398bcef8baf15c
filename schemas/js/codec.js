// Messages of the wire to bytes and back, with nothing but a DataView. The layout is that of market_data.fbs; whatever is
// wrong with the bytes is a CodecError.

export class CodecError extends Error {
  name = "CodecError";
}

export const VERSION = 2;

// Slots in the order of the schema: [name, type, default]. A type in brackets is a vector.
const TABLES = {
  StreamKey: [["source", "string"], ["symbol", "string"], ["interval", "string"]],
  Candle: [
    ["tsMs", "i64"], ["open", "f64"], ["high", "f64"], ["low", "f64"], ["close", "f64"], ["volume", "f64"],
    ["tickCount", "u32"], ["flags", "u16"],
  ],
  Cursor: [["latestSequence", "u64"], ["latestTsMs", "i64"]],
  HealthRequest: [],
  HealthResponse: [["ok", "bool", true], ["message", "string"]],
  GetCursorRequest: [["key", "StreamKey"]],
  GetCursorResponse: [["key", "StreamKey"], ["cursor", "Cursor"]],
  SubscribeCandlesRequest: [["key", "StreamKey"], ["hasFromSequence", "bool"], ["fromSequenceExclusive", "u64"]],
  SubscribeCandlesAck: [["accepted", "bool"], ["reason", "string"], ["key", "StreamKey"], ["latestSequence", "u64"]],
  CandleBatch: [["key", "StreamKey"], ["startSequence", "u64"], ["candles", "[Candle]"]],
  BackfillCandlesRequest: [
    ["key", "StreamKey"], ["hasFromSequence", "bool"], ["fromSequenceExclusive", "u64"], ["hasEndTsMs", "bool"],
    ["endTsMs", "i64"], ["limit", "u32"],
  ],
  BackfillCandlesResponse: [
    ["key", "StreamKey"], ["startSequence", "u64"], ["candles", "[Candle]"], ["hasMore", "bool"], ["nextSequence", "u64"],
  ],
  ErrorResponse: [["code", "u32"], ["message", "string"]],
  StreamStatusRequest: [["key", "StreamKey"]],
  StreamStatusResponse: [
    ["key", "StreamKey"], ["latestSequence", "u64"], ["latestTsMs", "i64"], ["serverTimeMs", "i64"],
    ["firstSequence", "u64"], ["storeId", "string"], ["latestRevision", "u64"], ["feedState", "i8"],
    ["lastTickTsMs", "i64"], ["platformOffsetMs", "i64"],
  ],
  CandleRevision: [["key", "StreamKey"], ["startRevision", "u64"], ["candles", "[Candle]"], ["sequences", "[u64]"]],
  RevisionsRequest: [["key", "StreamKey"], ["hasFromRevision", "bool"], ["fromRevisionExclusive", "u64"], ["limit", "u32"]],
  RevisionsResponse: [
    ["key", "StreamKey"], ["startRevision", "u64"], ["candles", "[Candle]"], ["sequences", "[u64]"], ["hasMore", "bool"],
    ["nextRevision", "u64"],
  ],
  TickBatch: [["key", "StreamKey"], ["startSequence", "u64"], ["tsMs", "[i64]"], ["price", "[f64]"]],
  ListStreamsRequest: [],
  ListStreamsResponse: [["streams", "[StreamStatusResponse]"]],
  HistoryRequest: [
    ["key", "StreamKey"], ["fromMs", "i64"], ["toMs", "i64"], ["hasAsOf", "bool"], ["asOfMs", "i64"], ["limit", "u32"],
  ],
  HistoryResponse: [["key", "StreamKey"], ["candles", "[Candle]"], ["sequences", "[u64]"], ["nextMs", "i64"]],
  Gap: [
    ["source", "string"], ["symbol", "string"], ["fromMs", "i64"], ["toMs", "i64"], ["reason", "string"], ["atMs", "i64"],
  ],
  GapsRequest: [
    ["source", "string"], ["symbol", "string"], ["fromMs", "i64"], ["toMs", "i64"], ["hasAsOf", "bool"], ["asOfMs", "i64"],
  ],
  GapsResponse: [["gaps", "[Gap]"]],
};

// The union's members from 1, each with its type hint and the lowest version that can read it.
const MEMBERS = [
  ["HealthRequest", 1, 1], ["HealthResponse", 2, 1], ["GetCursorRequest", 3, 1], ["GetCursorResponse", 4, 1],
  ["SubscribeCandlesRequest", 5, 1], ["SubscribeCandlesAck", 6, 1], ["CandleBatch", 7, 1],
  ["BackfillCandlesRequest", 8, 1], ["BackfillCandlesResponse", 9, 1], ["ErrorResponse", 100, 1],
  ["StreamStatusRequest", 10, 2], ["StreamStatusResponse", 11, 2], ["CandleRevision", 12, 2],
  ["RevisionsRequest", 13, 2], ["RevisionsResponse", 14, 2], ["TickBatch", 15, 2], ["ListStreamsRequest", 16, 2],
  ["ListStreamsResponse", 17, 2], ["HistoryRequest", 18, 2], ["HistoryResponse", 19, 2], ["GapsRequest", 20, 2],
  ["GapsResponse", 21, 2],
];

const SIZES = { bool: 1, i8: 1, u8: 1, u16: 2, u32: 4, i64: 8, u64: 8, f64: 8 };
const MOST_BYTES = 17 * 1024 * 1024;

function safe(big) {
  const number = Number(big);
  if (!Number.isSafeInteger(number)) throw new CodecError(`The number ${big} is too large.`);
  return number;
}

const READ = {
  bool: (view, at) => view.getUint8(at) !== 0,
  i8: (view, at) => view.getInt8(at),
  u8: (view, at) => view.getUint8(at),
  u16: (view, at) => view.getUint16(at, true),
  u32: (view, at) => view.getUint32(at, true),
  i64: (view, at) => safe(view.getBigInt64(at, true)),
  u64: (view, at) => safe(view.getBigUint64(at, true)),
  f64: (view, at) => view.getFloat64(at, true),
};

const WRITE = {
  bool: (view, at, value) => view.setUint8(at, value ? 1 : 0),
  i8: (view, at, value) => view.setInt8(at, value),
  u8: (view, at, value) => view.setUint8(at, value),
  u16: (view, at, value) => view.setUint16(at, value, true),
  u32: (view, at, value) => view.setUint32(at, value, true),
  i64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
  u64: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  f64: (view, at, value) => view.setFloat64(at, value, true),
};

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** Bytes to `{ type, message, correlationId, schemaVersion }`. */
export function decode(bytes) {
  if (bytes.byteLength > MOST_BYTES) throw new CodecError("The message is too large.");
  try {
    return decodeEnvelope(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (error instanceof CodecError) throw error;
    throw new CodecError(`Not a sound message: ${error.message}`);
  }
}

function decodeEnvelope(view) {
  const root = view.getUint32(0, true);
  const slot = slotsOf(view, root);
  const schemaVersion = slot(0) ? view.getUint32(slot(0), true) : 1;
  if (schemaVersion < 1 || schemaVersion > VERSION) throw new CodecError(`Version ${schemaVersion} is not known here.`);
  const member = slot(3) ? MEMBERS[view.getUint8(slot(3)) - 1] : undefined;
  if (!member || !slot(4)) throw new CodecError("The envelope holds no message that is known here.");
  return {
    type: member[0],
    message: readTable(view, target(view, slot(4)), member[0]),
    correlationId: slot(2) ? readString(view, target(view, slot(2))) : "",
    schemaVersion,
  };
}

function target(view, at) {
  return at + view.getUint32(at, true);
}

function slotsOf(view, table) {
  const vtable = table - view.getInt32(table, true);
  const length = view.getUint16(vtable, true);
  return (index) => {
    const place = 4 + 2 * index;
    const offset = place + 2 <= length ? view.getUint16(vtable + place, true) : 0;
    return offset ? table + offset : 0;
  };
}

function readString(view, at) {
  const length = view.getUint32(at, true);
  if (at + 4 + length > view.byteLength) throw new CodecError("A string lies beyond the message.");
  return utf8.decode(new Uint8Array(view.buffer, view.byteOffset + at + 4, length));
}

function readVector(view, at, type) {
  const length = view.getUint32(at, true);
  const size = SIZES[type] ?? 4;
  if (length * size > view.byteLength - at - 4) throw new CodecError("A vector lies beyond the message.");
  const values = new Array(length);
  for (let index = 0; index < length; index++) {
    const place = at + 4 + size * index;
    values[index] = SIZES[type] ? READ[type](view, place) : readTable(view, target(view, place), type);
  }
  return values;
}

function readTable(view, table, name) {
  const slot = slotsOf(view, table);
  const value = {};
  TABLES[name].forEach(([field, type, standard], index) => {
    const at = slot(index);
    if (SIZES[type]) value[field] = at ? READ[type](view, at) : (standard ?? (type === "bool" ? false : 0));
    else if (type === "string") value[field] = at ? readString(view, target(view, at)) : "";
    else if (type[0] === "[") value[field] = at ? readVector(view, target(view, at), type.slice(1, -1)) : [];
    else if (at) value[field] = readTable(view, target(view, at), type);
    else throw new CodecError(`${name} lacks its ${field}.`);
  });
  return value;
}

/** A message to bytes. Fields that are left out have their default. */
export function encode(type, message, correlationId = "") {
  const member = MEMBERS.findIndex(([name]) => name === type);
  if (member < 0) throw new CodecError(`${type} is no message.`);
  const [, hint, schemaVersion] = MEMBERS[member];
  const out = new Writer();
  out.skip(4);
  const fields = [
    ["schemaVersion", "u32", 1], ["typeHint", "u8"], ["correlationId", "string"], ["messageType", "u8"], ["message", type],
  ];
  const envelope = { schemaVersion, typeHint: hint, correlationId, messageType: member + 1, message };
  const root = out.table(fields, envelope); // which may have moved the view
  out.view.setUint32(0, root, true);
  return out.bytes();
}

class Writer {
  constructor() {
    this.buffer = new ArrayBuffer(1024);
    this.view = new DataView(this.buffer);
    this.length = 0;
  }

  bytes() {
    return new Uint8Array(this.buffer, 0, this.length);
  }

  skip(count) {
    this.length += count;
    if (this.length > this.buffer.byteLength) {
      const larger = new ArrayBuffer(2 * this.length);
      new Uint8Array(larger).set(new Uint8Array(this.buffer));
      this.buffer = larger;
      this.view = new DataView(larger);
    }
  }

  align(size) {
    this.skip((size - (this.length % size)) % size);
  }

  // A table, and behind it what it refers to; returns where it is.
  table(fields, value) {
    const present = fields.map(([name, type, standard]) => {
      const given = value[name];
      if (given === undefined || given === null) return false;
      return SIZES[type] ? given !== (standard ?? (type === "bool" ? false : 0)) : type !== "string" || given !== "";
    });
    this.align(8);
    const vtable = this.length;
    this.skip(4 + 2 * fields.length);
    this.align(8);
    const table = this.length;
    this.skip(4);
    this.view.setInt32(table, table - vtable, true);
    const places = fields.map(([, type], index) => {
      if (!present[index]) return 0;
      const size = SIZES[type] ?? 4;
      this.align(size);
      const at = this.length;
      this.skip(size);
      this.view.setUint16(vtable + 4 + 2 * index, at - table, true);
      return at;
    });
    this.view.setUint16(vtable, 4 + 2 * fields.length, true);
    this.view.setUint16(vtable + 2, this.length - table, true);
    fields.forEach(([name, type], index) => {
      const at = places[index];
      if (!at) return;
      if (SIZES[type]) WRITE[type](this.view, at, value[name]);
      else this.refer(at, type, value[name]);
    });
    return table;
  }

  refer(at, type, value) {
    let place;
    if (type === "string") place = this.string(value);
    else if (type[0] === "[") place = this.vector(type.slice(1, -1), value);
    else place = this.table(TABLES[type], value);
    this.view.setUint32(at, place - at, true);
  }

  string(text) {
    const encoded = new TextEncoder().encode(text);
    this.align(4);
    const at = this.length;
    this.skip(4 + encoded.length + 1);
    this.view.setUint32(at, encoded.length, true);
    new Uint8Array(this.buffer).set(encoded, at + 4);
    return at;
  }

  vector(type, values) {
    const size = SIZES[type] ?? 4;
    this.align(8);
    if (size === 8) this.skip(4);
    const at = this.length;
    this.skip(4 + size * values.length);
    this.view.setUint32(at, values.length, true);
    values.forEach((value, index) => {
      const place = at + 4 + size * index;
      if (SIZES[type]) WRITE[type](this.view, place, value);
      else this.refer(place, type, value);
    });
    return at;
  }
}
