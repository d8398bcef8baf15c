// A chart program as there are many: plain socket.io-client. Prints every event as a JSON line.
// Usage: node stream_candles.js URL ASSET COUNT websocket|polling
const { io } = require("socket.io-client");
const [url, asset, count, transport] = process.argv.slice(2);
const socket = io(url, { transports: [transport], reconnection: false });
let updates = 0;
socket.on("connect_error", (error) => { console.log(JSON.stringify(["connect_error", String(error)])); process.exit(1); });
socket.onAny((event, data) => {
  console.log(JSON.stringify([event, data]));
  if (event === "connection_status") socket.emit("start_stream", { asset, timeframe: "1m" });
  if (event === "candle_update" && ++updates === Number(count)) socket.emit("stop_stream");
  if (event === "stream_stopped") socket.close(), process.exit(0);
});
