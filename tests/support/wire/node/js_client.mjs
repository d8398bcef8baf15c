// The package of schemas/js as a program: prints each event as a JSON line, until its standard input ends.
// Usage: node js_client.mjs OPTIONS          or: node js_client.mjs --ask NAME KEY OPTIONS
//        node js_client.mjs --golden FOLDER  or: node js_client.mjs --garbage FOLDER
import fs from "node:fs";
import path from "node:path";

import * as fluxcap from "./fluxcap/index.js";

const print = (value) => process.stdout.write(JSON.stringify(value) + "\n");
const [first, ...rest] = process.argv.slice(2);
const files = () => fs.readdirSync(rest[0]).filter((name) => name.endsWith(".bin"));
const read = (name) => fs.readFileSync(path.join(rest[0], name));

if (first === "--golden") {
  for (const name of files()) {
    const { type, message, correlationId, schemaVersion } = fluxcap.decode(read(name));
    const again = Buffer.from(fluxcap.encode(type, message, correlationId)).toString("base64");
    print({ name: path.parse(name).name, type, message, correlationId, schemaVersion, again });
  }
} else if (first === "--garbage") {
  let seed = 1;
  const random = (below) => (seed = (seed * 48271) % 2147483647) % below;
  const errors = {};
  for (const name of files()) {
    for (let round = 0; round < 100; round++) {
      const bytes = Buffer.from(read(name)).subarray(0, 1 + random(read(name).length));
      for (let count = 0; count < 3; count++) bytes[random(bytes.length)] = random(256);
      try {
        fluxcap.decode(bytes);
      } catch (error) {
        errors[error.name] = (errors[error.name] ?? 0) + 1;
      }
    }
  }
  print(errors);
} else if (first === "--ask") {
  const [name, key, options] = rest.map((text, index) => (index ? JSON.parse(text) : text));
  const answer = name === "listStreams" ? fluxcap.listStreams(options) : fluxcap[name](key, options);
  await answer.then(print, (error) => print({ error: error.name, code: error.code }));
} else {
  const client = new fluxcap.LiveClient(JSON.parse(first));
  process.stdin.on("end", () => client.close()).resume();
  for await (const event of client.events()) print(event);
}
