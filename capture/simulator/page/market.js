// The trading server's protocol, by hand: Engine.IO 4 and Socket.IO 5 over one WebSocket.
// Works in a page, a frame and every kind of worker. Reconnects as socket.io-client does: 1 s doubling to 5 s, +-50 %.
"use strict";

class MarketSocket {
  // options: {url, auth: object or null, binary: bool, onEvent(name, data), onState(state)}
  constructor(options) {
    this.options = options;
    this.attempts = 0;
    this.wanted = false;
    this.joined = false;
  }

  open() {
    this.wanted = true;
    this.pending = null;
    const socket = new WebSocket(this.options.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    this.options.onState("connecting");
    socket.onmessage = (message) => {
      if (typeof message.data === "string") this.packet(message.data);
      else this.attachment(message.data);
    };
    socket.onclose = () => this.lost();
  }

  close() {
    this.wanted = false;
    if (this.socket) this.socket.close();
  }

  emit(name, ...data) {
    if (this.joined) this.socket.send("42" + JSON.stringify([name, ...data]));
  }

  packet(text) {
    if (text.startsWith("451-")) {
      const parts = parsed(text.slice(4));
      this.pending = Array.isArray(parts) ? parts[0] : null;
    } else if (text.startsWith("42")) {
      const parts = parsed(text.slice(2));
      if (Array.isArray(parts)) this.options.onEvent(parts[0], parts[1]);
    } else if (text === "2") {
      this.socket.send("3");
      this.expectPing();
    } else if (text.startsWith("40")) {
      this.joined = true;
      this.attempts = 0;
      this.options.onState("connected");
      if (this.options.auth) this.emit("auth", this.options.auth);
      this.presence = setInterval(() => this.emit("ps"), 20000);
    } else if (text.startsWith("41")) {
      this.close();
      this.options.onState("refused");
    } else if (text.startsWith("0{")) {
      this.handshake = parsed(text.slice(1)) || {};
      this.expectPing();
      this.socket.send("40");
    }
  }

  attachment(buffer) {
    const name = this.pending;
    this.pending = null;
    if (name === null) return;
    const data = parsed(new TextDecoder().decode(buffer));
    if (data !== undefined) this.options.onEvent(name, data);
  }

  expectPing() {
    clearTimeout(this.pingTimer);
    const patience = this.handshake.pingInterval + this.handshake.pingTimeout;
    this.pingTimer = setTimeout(() => this.socket.close(), patience);
  }

  lost() {
    this.joined = false;
    clearTimeout(this.pingTimer);
    clearInterval(this.presence);
    if (!this.wanted) return;
    this.options.onState("reconnecting");
    const delay = Math.min(5000, 1000 * 2 ** this.attempts++) * (0.5 + Math.random());
    setTimeout(() => this.wanted && this.open(), delay);
  }
}

// A MarketSocket driven by messages: {open: {url, auth}}, {emit: [name, data...]}; answers {event} and {state}.
class RemoteSocket {
  constructor(post) {
    this.post = post;
    this.socket = null;
  }

  receive(message) {
    if (message.open && this.socket === null) {
      this.socket = new MarketSocket({
        ...message.open,
        onEvent: (name, data) => this.post({ event: [name, data] }),
        onState: (state) => this.post({ state }),
      });
      this.socket.open();
    } else if (message.emit && this.socket !== null) {
      this.socket.emit(...message.emit);
    }
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

self.MarketSocket = MarketSocket;
self.RemoteSocket = RemoteSocket;
