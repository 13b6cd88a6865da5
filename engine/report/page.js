"use strict";
// Unpacks the library, draws every figure, turns the pages of long tables. `crashtape` is what
// other scripts of a page use.
const crashtape = (function () {
  const root = document.documentElement;
  const charts = Array.from(document.querySelectorAll(".chart[data-figure]"));
  const ROWS_SHOWN = 25;
  const redraws = [];
  let drawing = 0;

  async function unpack(id) {
    const text = document.getElementById(id).textContent;
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let place = 0; place < binary.length; place += 1) {
      bytes[place] = binary.charCodeAt(place);
    }
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async function unpackText(id) {
    return new TextDecoder().decode(await unpack(id));
  }

  function resolve(value, style) {
    if (typeof value === "string" && value.startsWith("var(")) {
      return style.getPropertyValue(value.slice(4, -1)).trim();
    }
    if (Array.isArray(value)) {
      const numbers = typeof value[0] === "number" && typeof value[value.length - 1] !== "string";
      return numbers ? value : value.map((each) => resolve(each, style));
    }
    if (value !== null && typeof value === "object") {
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, resolve(each, style)])
      );
    }
    return value;
  }

  function put(chart, figure) {
    const resolved = resolve(figure, getComputedStyle(root));
    const layout = { ...resolved.layout, width: chart.clientWidth };
    // Flows would glide to their new places, which paper does not wait for.
    if (resolved.data[0].type === "sankey") {
      Plotly.purge(chart);
    }
    Plotly.react(chart, resolved.data, layout, { displaylogo: false, displayModeBar: false });
  }

  function drawOne(chart) {
    put(chart, JSON.parse(document.getElementById(chart.dataset.figure).textContent));
  }

  // One figure at a time, so that the page answers while it draws; a newer call ends an older one.
  // What is on the screen comes first.
  async function draw() {
    const mine = ++drawing;
    const away = new Map(charts.map((chart) => {
      const place = chart.getBoundingClientRect();
      return [chart, place.bottom < 0 || place.top > innerHeight ? 1 : 0];
    }));
    for (const chart of [...charts].sort((a, b) => away.get(a) - away.get(b))) {
      drawOne(chart);
      performance.mark("picture");
      await new Promise((go) => setTimeout(go));
      if (mine !== drawing) {
        return;
      }
    }
    redraws.forEach((redraw) => redraw());
    root.dataset.drawn = String(charts.length);
    performance.mark("drawn");
  }

  function drawAtOnce() {
    drawing += 1;
    charts.forEach(drawOne);
    redraws.forEach((redraw) => redraw());
  }

  function fill(body, rows, numbers) {
    body.replaceChildren(
      ...rows.map((row) => {
        const line = document.createElement("tr");
        row.forEach((value, place) => {
          const cell = line.insertCell();
          cell.textContent = value;
          cell.className = numbers.includes(place) ? "n" : "";
        });
        return line;
      })
    );
  }

  // Buttons below a table; `rowAt(i)` gives the texts of a row.
  function paged(box, count, rowAt) {
    const numbers = (box.dataset.numbers || "").split(" ").map(Number);
    const body = box.querySelector("tbody");
    const last = Math.max(0, Math.ceil(count / ROWS_SHOWN) - 1);
    const place = document.createElement("span");
    place.setAttribute("aria-live", "polite");
    let page = 0;
    const first = () => 0;
    const moves = [["First", first], ["Previous", () => page - 1]];
    moves.push(["Next", () => page + 1], ["Last", () => last]);
    const buttons = moves.map(([name, target]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = name;
      button.addEventListener("click", () => show(target()));
      return button;
    });
    function show(wanted) {
      page = Math.min(Math.max(wanted, 0), last);
      const start = page * ROWS_SHOWN;
      const end = Math.min(start + ROWS_SHOWN, count);
      fill(body, Array.from({ length: end - start }, (_, i) => rowAt(start + i)), numbers);
      place.textContent = count
        ? `${(start + 1).toLocaleString("en")}\u2013${end.toLocaleString("en")} of ` +
          count.toLocaleString("en")
        : "nothing";
      buttons[0].disabled = buttons[1].disabled = page === 0;
      buttons[2].disabled = buttons[3].disabled = page === last;
    }
    const bar = document.createElement("div");
    bar.className = "pages";
    bar.append(buttons[0], buttons[1], place, buttons[2], buttons[3]);
    box.querySelector(".pages")?.remove();
    box.append(bar);
    show(0);
  }

  async function open(box) {
    if (box.dataset.open) {
      return;
    }
    box.dataset.open = "yes";
    const columns = JSON.parse(await unpackText(box.dataset.rows));
    paged(box, Number(box.dataset.count), (row) => columns.map((column) => column[row]));
  }

  for (const box of document.querySelectorAll(".paged[data-rows]")) {
    const around = box.closest("details");
    if (around) {
      around.addEventListener("toggle", () => around.open && open(box));
    } else {
      open(box);
    }
  }

  const ready = unpackText("packed-library").then((library) => {
    const script = document.createElement("script");
    script.textContent = library;
    document.head.append(script);
    script.remove();
    return draw();
  });
  ready.then(() => {
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    addEventListener("resize", draw);
    // Paper is white and narrow whatever the screen is.
    addEventListener("beforeprint", () => {
      root.classList.add("printing");
      drawAtOnce();
    });
    addEventListener("afterprint", () => {
      root.classList.remove("printing");
      draw();
    });
  });
  return { ready, unpack, unpackText, put, paged, redraws };
})();
