"use strict";
// The page of a sweep: its first screen, one table, and what is shown of its charts; nothing here asks the network.
document.documentElement.dataset.script = "on";
(async () => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const unpacked = (id) => {
    const packed = Uint8Array.from(atob($(id).textContent), (letter) => letter.charCodeAt(0));
    return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  };
  const { columns, classes, paths, failed, good, facts, profiles, history } = await unpacked("#data");
  const count = columns.id.length;
  const number = (digits) => {
    const format = new Intl.NumberFormat("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return (value, scale) => (value == null ? "–" : format.format(value / scale));
  };
  const element = (tag, text, className) => {
    const made = document.createElement(tag);
    if (text != null) made.textContent = text;
    if (className) made.className = className;
    return made;
  };

  // ---- the first screen: of another page, attention, engine or device
  const switches = $("#switches"), names = ["engine", "device", "page", "attention"];
  let pages = null;
  function dollars() {
    const answer = $("#page .answer"), price = parseFloat(switches.elements.price.value), place = $(".dollars", answer ?? document);
    if (!place) return;
    const of = price * answer.dataset.seconds * (1e6 / 3600);
    place.replaceChildren(...(of > 0 ? [element("b", `$ ${of >= 100 ? Math.round(of).toLocaleString("en") : of.toPrecision(3)}`), " a million pages"] : ["price not given"]));
  }
  async function turnTo() {
    pages ??= await unpacked("#pages");
    const key = () => names.map((name) => switches.elements[name].value).join("|");
    if (!(key() in pages)) {
      const fused = [...(switches.elements.attention.options ?? [])].find((option) => key().replace(/[^|]*$/, option.value) in pages);
      if (fused) switches.elements.attention.value = fused.value; // other engines and devices have one attention
    }
    const [engine, , page] = key().split("|");
    if (key() in pages) $("#page").innerHTML = pages[key()];
    else $("#page").replaceChildren(element("p", `${engine} does not take a page of ${page} there.`, "total"));
    dollars();
  }
  if (switches.elements.engine) switches.addEventListener("change", (event) => event.target.name === "price" || turnTo());
  switches.addEventListener("input", (event) => event.target.name === "price" && dollars());
  switches.addEventListener("submit", (event) => event.preventDefault());

  // ---- which points are shown, and in what order
  const form = $("#filters");
  let shown = []; // ids, filtered and sorted
  let sort = { name: "verdict", up: true };

  function matcher(text) {
    const terms = text.toLowerCase().replaceAll("×", "x").split(",").map((term) => term.trim()).filter(Boolean);
    if (!terms.length) return () => true;
    const tests = terms.map((term) => {
      const range = term.match(/^(\d+)\s*\.\.\s*(\d+)(\s*crops)?$/);
      if (range) return (id) => columns.crops[id] >= +range[1] && columns.crops[id] <= +range[2];
      const whole = term.includes("*") || /^\d+x\d+$/.test(term);
      const pattern = term.replace(/[^\dx*]/g, "\\$&").replaceAll("*", "\\d+");
      try {
        const regex = new RegExp(`^${pattern}${whole ? "$" : ""}`);
        return (id) => regex.test(columns.grid[id]);
      } catch {
        return () => false;
      }
    });
    return (id) => tests.some((test) => test(id));
  }

  const stages = [...new Set(columns.stage)];
  const severity = (verdict) => (failed.includes(verdict) ? 0 : good.includes(verdict) ? 2 : 1);
  const keys = {
    verdict: (id) => severity(columns.verdict[id]),
    stage: (id) => stages.indexOf(columns.stage[id]),
    grid: (id) => columns.crops[id] * 1e6 + columns.rows[id],
  };

  function choose() {
    const data = new FormData(form);
    const stage = new Set(data.getAll("stage")), attention = new Set(data.getAll("attention"));
    const grid = matcher(data.get("grid"));
    const pressed = $$(".verdict[aria-pressed=true]").map((button) => button.dataset.verdict);
    shown = columns.id.filter(
      (id) =>
        stage.has(columns.stage[id]) && attention.has(columns.attention[id]) && grid(id) &&
        (!pressed.length || pressed.includes(columns.verdict[id])),
    );
    const key = keys[sort.name] ?? ((id) => columns[sort.name][id]);
    const sign = sort.up ? 1 : -1;
    const worth = new Map(shown.map((id) => [id, key(id)]));
    shown.sort((a, b) => {
      const x = worth.get(a), y = worth.get(b);
      if (x == null || y == null) return (x == null) - (y == null) || a - b; // not measured: last, either way
      return (x < y ? -sign : x > y ? sign : 0) || a - b;
    });
    $("#shown").textContent = `${shown.length.toLocaleString("en")} of ${count.toLocaleString("en")} points`;
  }

  // ---- the table, a page at a time
  const heads = $$("#points thead th"), body = $("#points tbody");
  const cells = heads.map((head) => ({
    name: head.dataset.name,
    scale: head.dataset.scale && +head.dataset.scale,
    show: number(+(head.dataset.digits ?? 0)),
  }));
  let at = 0, size = 25;

  function row(id) {
    const tr = element("tr");
    tr.dataset.id = id;
    tr.tabIndex = -1;
    const bad = failed.includes(columns.verdict[id]);
    if (bad) tr.className = "bad";
    for (const { name, scale, show } of cells) {
      const value = columns[name][id];
      const td = element("td", scale ? show(value, scale) : (value ?? "–") || "–", scale ? "" : "word");
      if (name === "verdict") td.className = `word verdict-cell ${bad ? "bad" : good.includes(value) ? "good" : "other"}`;
      tr.append(td);
    }
    return tr;
  }

  function table(all = false) {
    at = Math.max(0, Math.min(at, Math.floor((shown.length - 1) / size) * size));
    const ids = all ? shown.slice(0, 1000) : shown.slice(at, at + size);
    body.replaceChildren(...ids.map(row));
    if (!ids.length) {
      const td = element("td", "No point fits these filters.", "empty");
      td.colSpan = heads.length;
      body.append(element("tr"));
      body.firstChild.append(td);
    } else body.firstChild.tabIndex = 0;
    $("#range").textContent = ids.length ? `${at + 1}–${at + ids.length} of ${shown.length.toLocaleString("en")}` : "";
    $("#previous").disabled = at === 0;
    $("#next").disabled = at + size >= shown.length;
    for (const head of heads) {
      const here = head.dataset.name === sort.name;
      head.setAttribute("aria-sort", here ? (sort.up ? "ascending" : "descending") : "none");
    }
  }

  function turn(by) {
    at += by * size;
    table();
  }

  function go(tr) {
    if (!tr?.dataset.id) return;
    for (const other of $$("tr[tabindex='0']", body)) other.tabIndex = -1;
    tr.tabIndex = 0;
    tr.focus();
  }

  body.addEventListener("keydown", (event) => {
    const tr = event.target.closest("tr");
    const moves = {
      ArrowDown: () => (tr.nextElementSibling ? go(tr.nextElementSibling) : at + size < shown.length && (turn(1), go(body.firstChild))),
      ArrowUp: () => (tr.previousElementSibling ? go(tr.previousElementSibling) : at > 0 && (turn(-1), go(body.lastChild))),
      Home: () => go(body.firstChild),
      End: () => go(body.lastChild),
      PageDown: () => at + size < shown.length && (turn(1), go(body.firstChild)),
      PageUp: () => at > 0 && (turn(-1), go(body.firstChild)),
    };
    if (moves[event.key]) {
      event.preventDefault();
      moves[event.key]();
    }
  });
  $("#previous").addEventListener("click", () => turn(-1));
  $("#next").addEventListener("click", () => turn(1));
  $("#size").addEventListener("change", (event) => {
    size = +event.target.value;
    table();
  });
  for (const head of heads)
    $("button", head).addEventListener("click", () => {
      const { name } = head.dataset;
      sort = { name, up: sort.name === name ? !sort.up : true };
      at = 0;
      choose();
      table();
    });

  // ---- the ledger of one point
  const card = $("#ledger");
  const costs = [["time_ns", "ms", 1e6, 3], ["tensor_flops", "tensor GFLOP", 1e9, 1], ["vector_flops", "vector GFLOP", 1e9, 2], ["read_bytes", "GB read", 1e9, 2], ["write_bytes", "GB written", 1e9, 2]]
    .map(([name, heading, scale, digits]) => ({ name, heading, scale, show: number(digits) }));

  function ledger(id) {
    const title = element("h3");
    const verdict = element("span", columns.verdict[id], failed.includes(columns.verdict[id]) ? "bad-text" : "");
    title.append(element("span", `${columns.stage[id]} ${columns.grid[id]} ${columns.attention[id]}`), verdict);
    const line = element("div", null, "facts");
    for (const [name, heading, scale, digits] of facts) {
      if (columns[name][id] == null) continue;
      const fact = element("span", `${heading} `);
      fact.append(element("b", number(digits)(columns[name][id], scale)));
      line.append(fact);
    }
    card.replaceChildren(title, line);
    const found = paths.filter((path) => columns[`${path}:tensor_flops`]?.[id] != null);
    const told = costs.filter((cost) => found.some((path) => columns[`${path}:${cost.name}`]?.[id] != null));
    if (found.length) {
      const made = element("table"), head = element("tr"), rows = element("tbody");
      head.append(element("th", "component"), ...told.map((cost) => element("th", cost.heading, cost.name)));
      for (const path of found) {
        const tr = element("tr");
        tr.append(element("td", path), ...told.map((cost) => element("td", cost.show(columns[`${path}:${cost.name}`]?.[id], cost.scale), cost.name)));
        rows.append(tr);
      }
      made.append(element("thead"), rows);
      made.firstChild.append(head);
      card.append(made);
    }
  }

  function show(id, x, y, above = y) {
    if (card.dataset.id !== String(id) || card.hidden) ledger(id);
    card.dataset.id = id;
    card.hidden = false;
    const { width, height } = card.getBoundingClientRect();
    const left = x + 18 + width > innerWidth ? x - 18 - width : x + 18;
    const top = y + 14 + height > innerHeight ? above - 14 - height : y + 14;
    card.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
    card.style.top = `${Math.max(8, Math.min(top, innerHeight - height - 8))}px`;
  }
  const hide = () => (card.hidden = true);

  body.addEventListener("mousemove", (event) => {
    const tr = event.target.closest("tr[data-id]");
    if (tr) show(+tr.dataset.id, event.clientX, event.clientY);
  });
  body.addEventListener("mouseleave", hide);
  body.addEventListener("focusin", (event) => {
    const tr = event.target.closest("tr[data-id]");
    if (!tr) return;
    const box = tr.getBoundingClientRect();
    show(+tr.dataset.id, box.left + Math.min(box.width / 3, innerWidth / 3), box.bottom - 8, box.top + 8);
  });
  body.addEventListener("focusout", hide);
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", hide, { passive: true });

  // ---- where the time of a profiled point goes
  function times() {
    const { gap_ns: gap, times: lines } = profiles.points[$("#profiled").value], by = +$("#time-by").value;
    const sums = new Map();
    for (const [place, ns] of lines) {
      const name = profiles.lines[place][by];
      sums.set(name, (sums.get(name) ?? 0) + ns);
    }
    const whole = lines.reduce((sum, [, ns]) => sum + ns, gap), ms = number(3), percent = number(1);
    const most = Math.max(gap, ...sums.values());
    const found = [...[...sums].sort((a, b) => b[1] - a[1]), ["between kernels", gap]];
    $("#times tbody").replaceChildren(...found.map(([name, ns]) => {
      const tr = element("tr"), bar = element("td"), fill = element("div", null, "bar");
      fill.style.width = `${Math.max(0, (100 * ns) / most)}%`;
      bar.append(fill);
      tr.append(element("td", name, "word"), element("td", ms(ns, 1e6)), element("td", percent(ns, whole / 100)), bar);
      return tr;
    }));
    $("#time-total").textContent = `${ms(whole, 1e6)} ms in all`;
  }
  if ($("#times")) {
    for (const select of [$("#profiled"), $("#time-by")]) select.addEventListener("change", times);
    times();
  }

  // ---- what was recorded of a point before
  function past() {
    const found = history[$("#recorded").value], percents = found.map((each) => 100 * each.change);
    const low = Math.min(-1, ...percents), high = Math.max(1, ...percents); // noise alone stays flat
    const wide = $("#past").clientWidth || 900; // its letters are as large on a phone
    $("#past").setAttribute("viewBox", `0 0 ${wide} 190`);
    const x = (at) => 74 + (at * (wide - 104)) / Math.max(1, found.length - 1), y = (percent) => 165 - ((percent - low) * 145) / (high - low);
    const made = (tag, attributes, text) => {
      const one = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
      if (text != null) one.textContent = text;
      return one;
    };
    const percent = (value) => `${value > 0 ? "+" : ""}${value.toFixed(1)} %`;
    const axis = [low, 0, high].flatMap((value) => [
      made("line", { x1: 60, x2: wide - 20, y1: y(value), y2: y(value), class: value ? "rule" : "rule zero" }),
      made("text", { x: 52, y: y(value) + 4, "text-anchor": "end" }, percent(value)),
    ]);
    const moves = found.flatMap((each, at) => (each.moved ? [made("line", { x1: x(at - 0.5), x2: x(at - 0.5), y1: 10, y2: 170, class: "moved" })] : []));
    const dots = found.map((each, at) => {
      const dot = made("circle", { cx: x(at), cy: y(percents[at]), r: 4, class: each.became === "disagrees" ? "apart" : "dot" });
      dot.append(made("title", {}, `${each.date ?? "no date"}, ${each.host ?? "unknown host"}: ${number(3)(each.median_ns, 1e6)} ms, ${percent(percents[at])}, ${each.became ?? "recorded"}`));
      return dot;
    });
    $("#past").replaceChildren(...axis, ...moves, ...dots);
    const dates = found.map((each) => each.date?.slice(0, 10)).filter(Boolean), last = percents.at(-1);
    $("#history-about").textContent = `${found.length} processes, ${dates[0]} to ${dates.at(-1)}; the last ${percent(last)}`;
  }
  if ($("#past")) {
    $("#recorded").addEventListener("change", past);
    past();
  }

  // ---- charts: drawn already; filters take marks away
  const root = document.documentElement, chartsBox = $("#charts");
  const marks = new Map();
  for (const mark of $$("[data-id]", chartsBox)) {
    if (!marks.has(+mark.dataset.id)) marks.set(+mark.dataset.id, []);
    marks.get(+mark.dataset.id).push(mark);
  }
  function charts() {
    for (const box of $$("fieldset input", form)) root.classList.toggle(`no-${classes[box.value]}`, !box.checked);
    const kept = new Set(shown);
    for (const [id, of] of marks) for (const mark of of) mark.classList.toggle("off", !kept.has(id));
  }
  chartsBox.addEventListener("mousemove", (event) => {
    const mark = event.target.closest("[data-id]");
    if (mark) show(+mark.dataset.id, event.clientX, event.clientY);
    else hide();
  });
  chartsBox.addEventListener("mouseleave", hide);

  // ---- what people press
  function filter() {
    hide();
    at = 0;
    choose();
    table();
    charts();
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    for (const button of $$(".verdict")) button.setAttribute("aria-pressed", "false");
    setTimeout(filter); // after the form has its values back
  });
  for (const button of $$(".verdict"))
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", button.getAttribute("aria-pressed") !== "true");
      filter();
    });

  const themes = ["system", "light", "dark"], theme = $("#theme");
  function dress(name) {
    if (name === "system") delete root.dataset.theme;
    else root.dataset.theme = name;
    theme.textContent = `Theme: ${name}`;
  }
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(root.dataset.theme ?? "system") + 1) % themes.length];
    try { localStorage.setItem("ocrsweep-theme", next); } catch { /* a page from a file may not keep anything */ }
    dress(next);
  });
  addEventListener("beforeprint", () => table(true));
  addEventListener("afterprint", () => table());
  $("#print").addEventListener("click", () => print());

  choose();
  table();
  try { dress(localStorage.getItem("ocrsweep-theme") ?? "system"); } catch { dress("system"); }
  dollars();
  root.dataset.ready = String(Math.round(performance.now())); // milliseconds from opening to the first page of the table
})();
