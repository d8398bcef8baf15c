// The market socket inside a service worker. The page writes now and then, or the browser would end an idle worker.
"use strict";
importScripts("market.js");
const remote = new RemoteSocket(async (message) => {
  const pages = await self.clients.matchAll({ includeUncontrolled: true });
  pages.forEach((page) => page.postMessage(message));
});
oninstall = () => self.skipWaiting();
onactivate = (event) => event.waitUntil(self.clients.claim());
onmessage = (message) => {
  const { open } = message.data;
  if (open && remote.socket && remote.socket.joined) remote.socket.emit("auth", open.auth);
  else remote.receive(message.data);
};
