"use strict";
// One account through time, chosen on the page. The states come from the run; what is done here is
// to value them at the drawn marks, in whole numbers.
(function () {
  const box = document.getElementById("xray");
  const BIT_LEDGER = 4;
  const BIT_ISOLATED = 8;
  const MILLION = 1000000n;
  let about, index, clock, marks, shown;
  const blocks = [];
  const size = (value) => (value < 0n ? -value : value);
  const up = (value, by) => -(-value / by) + (value > 0n && value % by !== 0n ? 1n : 0n);

  function word(bytes, start, count, place) {
    const byte = (plane) => bytes[start + plane * count + place];
    const half = (plane) =>
      byte(plane) + byte(plane + 1) * 256 + byte(plane + 2) * 65536 + byte(plane + 3) * 16777216;
    const zigzag = BigInt(half(0)) + (BigInt(half(4)) << 32n);
    return (zigzag >> 1n) ^ -(zigzag & 1n);
  }

  function column(bytes, start, count, differences) {
    let sum = 0n;
    return Array.from({ length: count }, (_, place) => {
      const value = word(bytes, start, count, place);
      sum = differences ? sum + value : value;
      return sum;
    });
  }

  async function bytesOf(name) {
    return new Uint8Array(await crashtape.unpack(`packed-${name}`));
  }

  async function load() {
    if (about) {
      return;
    }
    const known = JSON.parse(await crashtape.unpackText("packed-about"));
    const ids = await bytesOf("accounts");
    index = new Map();
    let start = 0;
    known.blocks.forEach(([accounts], block) => {
      column(ids, start, accounts, true).forEach((id, place) => index.set(id, [block, place]));
      start += 8 * accounts;
    });
    const times = await bytesOf("clock");
    clock = [0, 8 * known.clock].map((at) => column(times, at, known.clock, true));
    const path = await bytesOf("marks");
    marks = new Map();
    start = 0;
    for (const [market, count] of known.marks) {
      const [seq, time, price] = [0, 1, 2].map((k) => column(path, start + 8 * count * k, count));
      marks.set(market, { seq, time, price });
      start += 24 * count;
    }
    about = known;
  }

  function lastAtOrBefore(sorted, value) {
    let low = -1;
    let high = sorted.length;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= value) {
        low = middle;
      } else {
        high = middle;
      }
    }
    return low;
  }

  const timeOf = (seq) => clock[1][lastAtOrBefore(clock[0], seq)];

  function worth(market, lots, price) {
    if (market.unit !== "0") {
      return lots * price * BigInt(market.unit);
    }
    if (price === 0n) {
      return 0n;
    }
    const product = -lots * BigInt(market.face);
    let whole = product / price;
    if (product % price < 0n) {
      whole -= 1n;
    }
    const twice = 2n * (product - whole * price);
    return twice > price || (twice === price && whole % 2n !== 0n) ? whole + 1n : whole;
  }

  function entryAfter(market, before, moved, value, lots, price) {
    if (before.lots * moved >= 0n) {
      return before.entry + value;
    }
    return size(moved) > size(before.lots)
      ? worth(market, lots, price)
      : before.entry - (before.entry * size(moved)) / size(before.lots);
  }

  // The rows of an account with the whole state after each of them.
  async function rowsOf(id) {
    const [block, place] = index.get(id);
    blocks[block] = blocks[block] || (await bytesOf(`accounts-${block}`));
    const bytes = blocks[block];
    const [accounts, total] = about.blocks[block];
    const counts = column(bytes, 8 * accounts, accounts);
    const first = counts.slice(0, place).reduce((sum, each) => sum + Number(each), 0);
    const state = { wallet: 0n, legs: new Map() };
    let seq = 0n;
    let change = 0n;
    return Array.from({ length: Number(counts[place]) }, (_, i) => {
      const row = {};
      about.columns.forEach((name, k) => {
        row[name] = word(bytes, 16 * accounts + 8 * total * k, total, first + i);
      });
      seq += row.seq;
      row.seq = seq;
      row.time = timeOf(seq);
      row.kind = Number(row.kind);
      change = follow(state, row, change);
      row.change = change;
      row.legs = new Map(Array.from(state.legs, ([key, leg]) => [key, { ...leg }]));
      row.wallet = state.wallet;
      return row;
    });
  }

  function follow(state, row, changeBefore) {
    const name = about.kinds[row.kind];
    const flags = Number(row.leg);
    const key = `${row.market}/${flags & 3}`;
    const own = flags & BIT_LEDGER;
    const leg = state.legs.get(key) || { lots: 0n, entry: 0n, margin: 0n, isolated: own !== 0 };
    const before = { ...leg };
    const balance = own ? leg.margin : state.wallet;
    let expected = balance;
    row.moved = row.lots;
    if (name === "fill") {
      const market = about.markets[Number(row.market) - 1];
      row.moved = row.lots - before.lots;
      const value = worth(market, row.moved, row.price);
      leg.entry = row.entry + entryAfter(market, before, row.moved, value, row.lots, row.price);
      leg.lots = row.lots;
      expected += leg.entry - before.entry - value - row.first;
    } else if (name === "settled") {
      leg.entry += row.entry;
      row.moved = 0n;
      expected += row.entry;
    } else if (about.empties.includes(row.kind)) {
      expected = 0n;
    } else if (name === "margin moved" && own) {
      expected -= changeBefore;
    }
    if (name === "fill" || name === "settled" || own) {
      leg.isolated = (flags & BIT_ISOLATED) !== 0 || own !== 0;
      state.legs.set(key, leg);
    }
    if (name === "liquidation started") {
      const expected = expectedAtStart(state, row);
      row.first += expected.equity;
      row.second += expected.need || 0n;
    }
    if (!about.booked.includes(row.kind)) {
      return 0n;
    }
    row.balance += expected;
    if (own) {
      leg.margin = row.balance;
    } else {
      state.wallet = row.balance;
    }
    return row.balance - balance;
  }

  // At the mark of that instant, which is its price where the domain has lots in one market.
  function expectedAtStart(state, row) {
    const domain = keyOf(row);
    const legs = Array.from(state.legs).filter(([key, leg]) =>
      leg.lots !== 0n && (domain ? key === domain : !leg.isolated)
    );
    const held = new Set(legs.map(([key]) => key.split("/")[0]));
    return held.size === 1 ? stands(state, domain, () => row.price) : { equity: 0n };
  }

  function needed(market, leg, value) {
    const basis = about.tierBy === "entry_value" ? size(leg.entry) : size(value);
    const measure = about.tierBy === "contracts" ? size(leg.lots) : basis;
    const found = market.tiers.find(([bound]) => measure <= BigInt(bound));
    const [, rate, deduction] = found || market.tiers[market.tiers.length - 1];
    const fee = up(size(value) * BigInt(market.fee), MILLION);
    return up(basis * BigInt(rate), MILLION) - BigInt(deduction) + fee;
  }

  // Equity and requirement of a domain ("" is cross, else the key of an isolated leg).
  function stands(row, domain, priceOf) {
    let equity = domain ? 0n : row.wallet;
    let need = 0n;
    for (const [key, leg] of row.legs) {
      if (domain ? key !== domain : leg.isolated) {
        continue;
      }
      equity += leg.isolated ? leg.margin : 0n;
      const id = Number(key.split("/")[0]);
      const market = about.markets[id - 1];
      const price = priceOf(id);
      if (leg.lots === 0n || price === undefined) {
        continue;
      }
      const value = worth(market, leg.lots, price);
      if (market.collateral) {
        const kept = value * (MILLION - BigInt(market.haircut));
        equity += kept / MILLION - (kept % MILLION < 0n ? 1n : 0n) - leg.entry;
        continue;
      }
      equity += value - leg.entry;
      need = need === null || !market.tiers ? null : need + needed(market, leg, value);
    }
    return { equity, need: need ? need + BigInt(about.over) : need };
  }

  const begins = (row) => about.kinds[row.kind] === "liquidation started";
  const priceAt = (seq) => (id) => {
    const path = marks.get(id);
    return path && path.price[lastAtOrBefore(path.seq, seq)];
  };

  function pathOf(rows, domain) {
    const markets = new Set(rows.map((row) => Number(row.market)).filter((id) => marks.has(id)));
    const begun = timeOf(rows[0].seq);
    const opened = rows.filter((row) => row.time === begun).pop();
    const points = new Map([[opened.seq, opened.time]]);
    for (const id of markets) {
      marks.get(id).seq.forEach((seq, place) => {
        if (seq > opened.seq) {
          points.set(seq, marks.get(id).time[place]);
        }
      });
    }
    const end = rows[rows.length - 1];
    points.set(end.seq, end.time);
    const seqs = rows.map((row) => row.seq);
    const only = markets.size === 1 ? Array.from(markets)[0] : 0;
    const path = Array.from(points, ([seq, time]) => {
      const at = priceAt(seq);
      const row = rows[lastAtOrBefore(seqs, seq)];
      return { seq, time, market: only, mark: only && at(only), ...stands(row, domain, at) };
    });
    // Where a liquidation begins the engine itself said both numbers.
    for (const row of rows.filter((each) => begins(each) && keyOf(each) === domain)) {
      const { seq, time, price } = row;
      const stood = { equity: row.first, need: row.second };
      path.push({ seq, time, said: 1, market: only, mark: price, ...stood });
    }
    const place = (point) => 2n * point.seq - BigInt(point.said || 0);
    return path.sort((a, b) => (place(a) < place(b) ? -1 : 1));
  }

  function decimal(value, places) {
    if (value === null || value === undefined) {
      return "";
    }
    const digits = size(value).toString().padStart(places + 1, "0");
    const whole = digits.slice(0, digits.length - places).replace(/\B(?=(\d{3})+$)/g, ",");
    const rest = places ? `.${digits.slice(-places)}` : "";
    return `${value < 0n ? "\u2212" : ""}${whole}${rest}`;
  }

  const money = (value) => decimal(value, about.decimals);
  const iso = (ns) => new Date(Number(ns / 1000000n)).toISOString();
  const moment = (ns) => iso(ns).slice(0, 19).replace("T", " ");
  const amount = (value) => (value === null ? null : Number(value) / 10 ** about.decimals);
  const ratio = ({ equity, need }) =>
    need && equity > 0n ? Number((need * 1000000n) / equity) / 10000 : null;

  function figure(rows, path, domain) {
    const x = path.map((point) => Number(point.time / 1000n) / 1000);
    const line = (name, y, colour, more) => ({
      type: "scatter", mode: "lines", name, x, y, line: { color: colour, width: 1.6, shape: "hv" },
      ...more,
    });
    const inside = (row) => keyOf(row) === domain;
    const mark = (name, chosen, symbol, colour, y) => ({
      type: "scatter", mode: "markers", name, hovertemplate: "%{y:,.2f}",
      x: chosen.map((row) => Number(row.time / 1000n) / 1000), y: chosen.map(y),
      marker: { symbol, size: 11, color: colour, line: { color: "var(--paper)", width: 1 } },
    });
    const started = rows.filter(begins);
    const taken = rows.filter((row) => about.reasons[Number(row.reason)] === "adl" && inside(row));
    const dash = { color: "var(--debt)", width: 1.6, dash: "dash", shape: "hv" };
    const axis = (title, more) => ({
      title: { text: title, standoff: 8 }, gridcolor: "var(--grid)", linecolor: "var(--rule)",
      zerolinecolor: "var(--rule)", tickcolor: "var(--rule)", ...more,
    });
    const data = [
      line("Equity", path.map((p) => amount(p.equity)), "var(--mark)"),
      line("Maintenance requirement", path.map((p) => amount(p.need)), "", { line: dash }),
      mark("Liquidation begins, equity", started.filter(inside), "x", "var(--liquidation)", (row) =>
        amount(row.first)
      ),
      mark("ADL fill", taken, "diamond", "var(--adl)", (row) =>
        amount(stands(row, domain, priceAt(row.seq)).equity)
      ),
      line("Margin ratio", path.map(ratio), "var(--index)", { yaxis: "y2", showlegend: false }),
    ];
    const layout = {
      height: 460, margin: { l: 84, r: 24, t: 34, b: 60 }, hovermode: "x unified",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "var(--sans)", size: 12, color: "var(--ink)" },
      hoverlabel: { bgcolor: "var(--paper)", font: { color: "var(--ink)" } },
      legend: { orientation: "h", x: 0, y: 1.01, yanchor: "bottom" },
      xaxis: axis("Time, UTC", { type: "date", showgrid: false, anchor: "y2" }),
      yaxis: axis(about.asset, { domain: [0.36, 1] }),
      yaxis2: axis("Margin ratio, %", { domain: [0, 0.28], rangemode: "tozero" }),
    };
    return { data, layout };
  }

  const isolated = (row) => (Number(row.leg) & BIT_ISOLATED) !== 0;
  const keyOf = (row) => (isolated(row) ? `${row.market}/${Number(row.leg) & 3}` : "");

  function domainsOf(rows) {
    const found = new Map();
    for (const row of rows) {
      const key = keyOf(row);
      const [market, side] = key.split("/").map(Number);
      const word = ["", ", long leg", ", short leg"][side];
      found.set(key, key ? `isolated ${about.markets[market - 1].symbol}${word}` : "cross");
    }
    return found;
  }

  function eventRow(row) {
    const market = about.markets[Number(row.market) - 1];
    const booked = about.booked.includes(row.kind);
    const name = about.kinds[row.kind];
    const numbers = booked ? [] : [row.first, row.second];
    const said = numbers.filter((each) => each !== 0n).map(money).join(" / ");
    return [
      moment(row.time),
      row.seq.toString(),
      name + (about.reasons[Number(row.reason)] ? `: ${about.reasons[Number(row.reason)]}` : ""),
      market ? market.symbol : "",
      market && row.price ? decimal(row.price, market.decimals) : "",
      row.moved ? decimal(row.moved, 0) : "",
      name === "fill" ? money(row.first) : "",
      booked ? money(row.change) : "",
      booked ? money(row.balance) : "",
      said,
    ];
  }

  function pathRow(point) {
    const market = about.markets[point.market - 1];
    const percent = ratio(point);
    return [
      moment(point.time),
      market && point.mark !== undefined ? decimal(point.mark, market.decimals) : "",
      money(point.equity),
      money(point.need),
      percent === null ? "" : `${percent.toFixed(2)} %`,
    ];
  }

  function redraw() {
    if (shown) {
      const { rows, path, domain } = shown;
      crashtape.put(document.getElementById("xray-chart"), figure(rows, path, domain));
    }
  }

  function part(domain) {
    const { id, rows } = shown;
    const path = pathOf(rows, domain);
    shown = { id, rows, path, domain };
    redraw();
    const chart = document.getElementById("xray-chart");
    chart.setAttribute("aria-label", `Account ${id}: equity, requirement, margin ratio`);
    crashtape.paged(document.getElementById("xray-path"), path.length, (i) => pathRow(path[i]));
  }

  async function show(text) {
    const said = document.getElementById("xray-said");
    await load();
    const id = /^\d+$/.test(text.trim()) ? BigInt(text.trim()) : null;
    if (id === null || !index.has(id)) {
      const rest = about.leftOut
        ? ` The page has room for ${about.shown.toLocaleString("en")} accounts and leaves out ` +
          `${about.leftOut.toLocaleString("en")} that had the least happen to them.`
        : "";
      said.textContent = `No account ${text.trim() || "without a number"} here.${rest}`;
      return;
    }
    const rows = await rowsOf(id);
    const domains = domainsOf(rows);
    const struck = rows.find(begins);
    const traded = rows.find((row) => about.kinds[row.kind] === "fill");
    const domain = keyOf(struck || traded || rows[0]);
    const choice = document.getElementById("xray-domain");
    choice.replaceChildren(...Array.from(domains, ([key, name]) => new Option(name, key)));
    choice.value = domain;
    choice.disabled = domains.size < 2;
    document.getElementById("xray-account").value = id.toString();
    const count = rows.filter(begins).length;
    const often = count > 1 ? `${count} liquidations` : "1 liquidation";
    said.textContent =
      `Account ${id}: ${rows.length} events, ${count ? often : "never liquidated"}, ` +
      `wallet at the end ${money(rows[rows.length - 1].wallet)} ${about.asset}.`;
    shown = { id, rows, domain };
    part(domain);
    crashtape.paged(document.getElementById("xray-events"), rows.length, (i) => eventRow(rows[i]));
  }

  if (box) {
    const account = document.getElementById("xray-account");
    const known = document.getElementById("xray-known");
    document.getElementById("xray-form").addEventListener("submit", (event) => {
      event.preventDefault();
      show(account.value);
    });
    known.addEventListener("change", () => known.value && show(known.value));
    document.getElementById("xray-domain").addEventListener("change", (event) => {
      part(event.target.value);
    });
    crashtape.redraws.push(redraw);
    crashtape.ready.then(() => show(account.value)).then(() => {
      box.dataset.ready = "yes";
      performance.mark("account");
    });
  }
})();
