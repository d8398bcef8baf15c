// The market socket inside a shared worker: one for all tabs. A tab that comes later signs in anew to be told everything.
"use strict";
importScripts("market.js");
const ports = [];
const remote = new RemoteSocket((message) => ports.forEach((port) => port.postMessage(message)));
onconnect = (event) => {
  const port = event.ports[0];
  ports.push(port);
  port.onmessage = (message) => {
    const { open } = message.data;
    if (open && remote.socket && remote.socket.joined) remote.socket.emit("auth", open.auth);
    else remote.receive(message.data);
  };
};
