// The market socket inside a dedicated worker.
"use strict";
importScripts("market.js");
const remote = new RemoteSocket((message) => postMessage(message));
onmessage = (message) => remote.receive(message.data);
