// Before anything is drawn: the theme, so that no page flashes white, and the first question of the daemon, on whose answer
// the chart waits: it is under way while the modules are read.
{
  const asked = new URLSearchParams(location.search).get("theme");
  let kept = "";
  try {
    kept = JSON.parse(localStorage.getItem("fluxcap") || "{}").theme;
  } catch {
    // What is not understood is not remembered.
  }
  const known = [asked, kept].find((theme) => theme === "dark" || theme === "light");
  document.documentElement.dataset.theme = known ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
}
if (document.currentScript.dataset.ask && document.documentElement.dataset.daemon === "yes") {
  globalThis.firstStatus = fetch(document.currentScript.dataset.ask, { cache: "no-store" }).catch(() => null);
}
