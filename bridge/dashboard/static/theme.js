// Before anything is drawn, so that no page flashes white.
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
