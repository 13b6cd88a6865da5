"use strict";
(function () {
  const root = document.documentElement;
  const charts = Array.from(document.querySelectorAll(".chart"));

  function resolve(value, style) {
    if (typeof value === "string" && value.startsWith("var(")) {
      return style.getPropertyValue(value.slice(4, -1)).trim();
    }
    if (Array.isArray(value)) {
      return value.map((each) => resolve(each, style));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, resolve(each, style)])
      );
    }
    return value;
  }

  function draw() {
    const style = getComputedStyle(root);
    for (const chart of charts) {
      const source = document.getElementById(chart.dataset.figure).textContent;
      const figure = resolve(JSON.parse(source), style);
      const layout = { ...figure.layout, width: chart.clientWidth };
      Plotly.react(chart, figure.data, layout, {
        displaylogo: false,
        displayModeBar: false,
      });
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("resize", draw);
  // Paper is white and narrow whatever the screen is.
  addEventListener("beforeprint", () => {
    root.classList.add("printing");
    draw();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("printing");
    draw();
  });
})();
