// Before anything is painted: the theme that was chosen, where one was.
(() => {
  try {
    const theme = localStorage.getItem("imago-theme");
    if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  } catch { /* no storage: the system's theme */ }
})();
