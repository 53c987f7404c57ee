// Runs before the page is drawn, so that it does not flash in the wrong colours or language.
(() => {
  const root = document.documentElement;
  const theme = localStorage.getItem("autoglm.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const language = localStorage.getItem("autoglm.language") ?? navigator.language;
  root.lang = language.toLowerCase().startsWith("zh") ? "zh-CN" : "en";
})();
