// Reads every message file in a folder with the code that flatc generated, and prints them as one JSON object in the
// shape of `flatc --json --defaults-json`. Usage: node read_messages.js FOLDER
"use strict";
const fs = require("fs");
const path = require("path");
const flatbuffers = require("flatbuffers");
const flux = require("./market_data_generated");

const snake = (name) => name.replace(/[A-Z]/g, (letter) => "_" + letter.toLowerCase());

// The accessors of a generated class: neither its plumbing nor the companions of vectors.
function fieldsOf(table) {
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(table));
  return names.filter((name) => !/^(constructor|__init|.*Length|.*Array)$/.test(name));
}

function plain(value) {
  if (typeof value === "bigint") return Number(value);
  return value !== null && typeof value === "object" ? tree(value) : value;
}

function tree(table) {
  const result = {};
  for (const name of fieldsOf(table)) {
    const isVector = typeof table[name + "Length"] === "function";
    const value = isVector
      ? Array.from({ length: table[name + "Length"]() }, (_, index) => plain(table[name](index)))
      : plain(table[name]());
    if (value !== null) result[snake(name)] = value;
  }
  return result;
}

function read(file) {
  const buffer = new flatbuffers.ByteBuffer(fs.readFileSync(file));
  const envelope = flux.Envelope.getRootAsEnvelope(buffer);
  const result = {
    schema_version: envelope.schemaVersion(),
    type_hint: flux.MessageType[envelope.typeHint()],
    message_type: flux.Message[envelope.messageType()],
    message: tree(envelope.message(new flux[flux.Message[envelope.messageType()]]())),
  };
  if (envelope.correlationId() !== null) result.correlation_id = envelope.correlationId();
  return result;
}

const folder = process.argv[2];
const files = fs.readdirSync(folder).filter((name) => name.endsWith(".bin"));
console.log(JSON.stringify(Object.fromEntries(files.map((name) => [path.parse(name).name, read(path.join(folder, name))]))));
