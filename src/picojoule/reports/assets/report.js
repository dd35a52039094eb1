"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const SVG = "http" + "://www.w3.org/2000/svg"; // a name, not an address: nothing is loaded

  const make = (parent, tag, attributes = {}, text) => {
    const node = document.createElement(tag);
    return fill(parent, node, attributes, text);
  };
  const draw = (parent, tag, attributes = {}, text) =>
    fill(parent, document.createElementNS(SVG, tag), attributes, text);
  const fill = (parent, node, attributes, text) => {
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text; // never markup: names are foreign
    parent.append(node);
    return node;
  };

  // ---- numbers, as the static page writes them ----

  const si = (value, unit) => {
    if (value === 0) return `0 ${unit}`;
    const prefixes = ["n", "µ", "m", "", "k", "M", "G"];
    const step = Math.max(-3, Math.min(3, Math.floor(Math.log10(Math.abs(value) * 1.0005) / 3)));
    return `${Number((value / 1000 ** step).toPrecision(3))} ${prefixes[step + 3]}${unit}`;
  };
  const niceStep = (span, count) => {
    const raw = span / count;
    const power = 10 ** Math.floor(Math.log10(raw));
    return [1, 2, 5, 10].map((s) => s * power).find((s) => s >= raw * 0.999);
  };
  // One unit for a whole axis that ends at `end`.
  const secondsAt = (t, step, end) => {
    const [scale, unit] = end >= 1 ? [1, "s"] : end >= 1e-3 ? [1e3, "ms"] : end >= 1e-6 ? [1e6, "µs"] : [1e9, "ns"];
    return `${(t * scale).toFixed(Math.max(0, -Math.floor(Math.log10(step * scale) + 1e-9)))} ${unit}`;
  };

  // ---- theme ----

  const theme = $("theme");
  const themes = ["auto", "light", "dark"];
  const setTheme = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    theme.textContent = `theme: ${name}`;
    theme.dataset.now = name;
  };
  const kept = (value) => {
    try {
      if (value === undefined) return localStorage.getItem("picojoule-theme");
      localStorage.setItem("picojoule-theme", value);
    } catch { /* a browser that keeps nothing for files */ }
    return null;
  };
  setTheme(themes.includes(kept()) ? kept() : "auto");
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const next = themes[(themes.indexOf(theme.dataset.now) + 1) % themes.length];
    setTheme(next);
    kept(next);
  });

  // ---- timeline ----

  const timeline = () => {
    const box = $("plot");
    if (!box || !(data.duration > 0)) return;
    const readout = $("readout");
    const hidden = new Set();
    const ROW = 20, TOP = 20, POWER = data.series.length ? 230 : 0;
    const lanesTop = TOP + POWER + (POWER ? 30 : 18);
    const threads = new Set(data.lanes.map(([thread]) => thread));
    const laneY = [];
    let bottom = lanesTop;
    data.lanes.forEach(([thread], i) => {
      if (threads.size > 1 && (i === 0 || data.lanes[i - 1][0] !== thread)) bottom += i ? 20 : 14;
      laneY.push(bottom);
      bottom += ROW;
    });
    // Kernels: one lane a stream, with its device above its first.
    const streams = data.streams ?? [], runs = data.runs ?? [];
    const streamY = streams.map(([domain], i) => {
      if (i === 0 || streams[i - 1][0] !== domain) bottom += data.lanes.length || i ? 24 : 14;
      bottom += ROW;
      return bottom - ROW;
    });
    const height = Math.max(bottom, TOP + POWER + 24) + 4;
    const names = new Map();
    const tint = data.paths.map((path) => {
      const name = path[path.length - 1];
      if (!names.has(name)) names.set(name, names.size % 7);
      return names.get(name);
    });
    let view = [0, data.duration];
    let frame, left, right, width;

    const x = (t) => left + ((t - view[0]) / (view[1] - view[0])) * (right - left);
    const timeAt = (px) => view[0] + ((px - left) / (right - left)) * (view[1] - view[0]);

    // First step that ends after t.
    const stepAt = (series, t) => {
      let low = 0, high = series.w.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (series.t[middle + 1] > t) high = middle; else low = middle + 1;
      }
      return low;
    };

    const paint = () => {
      width = Math.max(260, box.clientWidth);
      left = width < 560 ? 46 : 58;
      right = width - 6;
      box.textContent = "";
      frame = draw(box, "svg", {
        viewBox: `0 0 ${width} ${height}`, height, tabindex: 0, role: "application",
        "aria-label": "Power and regions over time. Drag to zoom; plus and minus zoom, arrows move, 0 shows all.",
      });
      const clip = draw(draw(frame, "defs"), "clipPath", { id: "clip" });
      draw(clip, "rect", { x: left, y: 0, width: right - left, height });
      const visible = data.series.filter((s) => !hidden.has(s));
      let top = 0;
      for (const s of visible) {
        for (let i = stepAt(s, view[0]); i < s.w.length && s.t[i] < view[1]; i++) top = Math.max(top, s.w[i] ?? 0);
      }
      const wattStep = niceStep(top > 0 ? top * 1.05 : 1, 4);
      const most = Math.ceil((top > 0 ? top * 1.05 : 1) / wattStep) * wattStep;
      const y = (w) => TOP + POWER * (1 - w / most);
      if (POWER) {
        for (let w = 0; w <= most * 1.001; w += wattStep) {
          draw(frame, "line", { x1: left, x2: right, y1: y(w), y2: y(w), class: w ? "grid" : "axis" });
          draw(frame, "text", { x: left - 8, y: y(w) + 4, "text-anchor": "end" }, si(w, "W"));
        }
      }
      const step = niceStep(view[1] - view[0], Math.max(3, (right - left) / 110));
      const axisY = TOP + POWER + (POWER ? 17 : 4);
      for (let k = Math.ceil(view[0] / step - 1e-9); k * step <= view[1] * (1 + 1e-12); k++) {
        const at = x(k * step);
        draw(frame, "line", { x1: at, x2: at, y1: TOP, y2: height - 4, class: "grid" });
        const anchor = at > right - 22 ? "end" : at < left + 12 ? "start" : "middle";
        draw(frame, "text", { x: at, y: axisY, "text-anchor": anchor }, secondsAt(k * step, step, view[1]));
      }
      const inside = draw(frame, "g", { "clip-path": "url(#clip)" });
      for (const [domain, from, to] of data.gaps) {
        if (to < view[0] || from > view[1]) continue;
        const wide = Math.max(1.5, x(to) - x(from));
        draw(inside, "rect", { x: x(from), y: TOP, width: wide, height: POWER, fill: "url(#pj-gap)", class: "gap" });
        if (wide > 90) draw(inside, "text", { x: x(from) + 5, y: TOP + 13, class: "in" }, `no reading, ${domain}`);
      }
      for (const s of visible) {
        let path = "", drawing = false;
        for (let i = stepAt(s, view[0]); i < s.w.length && s.t[i] < view[1]; i++) {
          if (s.w[i] === null) { drawing = false; continue; }
          const from = x(Math.max(s.t[i], view[0])).toFixed(1), to = x(Math.min(s.t[i + 1], view[1])).toFixed(1);
          path += drawing ? `V${y(s.w[i]).toFixed(1)}H${to}` : `M${from} ${y(s.w[i]).toFixed(1)}H${to}`;
          drawing = true;
        }
        draw(inside, "path", { d: path, class: `step l${s.color} ${s.provenance}` });
      }
      if (visible.some((s) => s.provenance === "estimated")) {
        draw(frame, "text", { x: right, y: TOP - 7, "text-anchor": "end" }, "dashed: estimated");
      }
      data.lanes.forEach(([thread, depth], i) => {
        if (threads.size > 1 && (i === 0 || data.lanes[i - 1][0] !== thread)) {
          draw(frame, "text", { x: left, y: laneY[i] - 5 }, `thread ${thread}`);
        }
      });
      data.spans.forEach((span, i) => {
        const [lane, from, to, path, calls] = span;
        if (to < view[0] || from > view[1]) return;
        const x1 = Math.max(left, x(from)), wide = Math.max(0.8, Math.min(right, x(to)) - x1);
        draw(inside, "rect", {
          x: x1.toFixed(1), y: laneY[lane], width: wide.toFixed(1), height: ROW - 2, rx: wide > 8 ? 2 : 0,
          class: `band t${tint[path]}${wide < 6 ? " thin" : ""}`, "data-i": i,
        });
        const room = Math.floor((wide - 10) / 6.4);
        if (room < 3) return;
        const name = data.paths[path][data.paths[path].length - 1] + (calls > 1 ? ` and others, ${calls} calls` : "");
        const label = name.length <= room ? name : room < 5 ? "" : `${name.slice(0, room - 1)}…`;
        if (label) draw(inside, "text", { x: x1 + 5, y: laneY[lane] + 13, class: "in" }, label);
      });
      streams.forEach(([domain, stream], i) => {
        if (i === 0 || streams[i - 1][0] !== domain) draw(frame, "text", { x: left, y: streamY[i] - 5 }, `${domain}: kernels by stream`);
        draw(frame, "text", { x: left - 6, y: streamY[i] + 13, "text-anchor": "end" }, stream);
      });
      runs.forEach((run, i) => {
        const [lane, from, to, kernel, count, share] = run;
        if (to < view[0] || from > view[1]) return;
        const x1 = Math.max(left, x(from)), wide = Math.max(0.8, Math.min(right, x(to)) - x1);
        draw(inside, "rect", {
          x: x1.toFixed(1), y: streamY[lane], width: wide.toFixed(1), height: ROW - 4,
          class: `run t${kernel % 7}${wide < 6 ? " thin" : ""}`, "fill-opacity": (0.15 + 0.85 * share).toFixed(2), "data-k": i,
        });
        const room = Math.floor((wide - 10) / 6.4), name = data.kernels[kernel][0];
        if (room < 5 || count > 1) return;
        draw(inside, "text", { x: x1 + 5, y: streamY[lane] + 12, class: "in" }, name.length <= room ? name : `${name.slice(0, room - 1)}…`);
      });
      reset.disabled = view[0] === 0 && view[1] === data.duration;
    };

    const show = (from, to) => {
      const least = Math.max(data.duration * 1e-7, 1e-8);
      const span = Math.min(data.duration, Math.max(least, to - from));
      const begin = Math.min(Math.max(0, (from + to - span) / 2), data.duration - span);
      view = [begin, begin + span];
      paint();
    };
    const zoom = (factor, around = (view[0] + view[1]) / 2) =>
      show(around - (around - view[0]) * factor, around + (view[1] - around) * factor);
    const move = (share) => {
      const by = Math.max(-view[0], Math.min(data.duration - view[1], share * (view[1] - view[0])));
      show(view[0] + by, view[1] + by);
    };

    // ---- reading a point ----

    const say = (t, target) => {
      readout.textContent = "";
      make(make(readout, "span"), "b", {}, secondsAt(t, (view[1] - view[0]) / 1000, view[1]));
      for (const s of data.series) {
        if (hidden.has(s)) continue;
        const w = s.w[stepAt(s, t)];
        const known = w !== null && w !== undefined && t >= s.t[0];
        const estimated = s.provenance === "estimated";
        const part = make(readout, "span", {}, `${s.domain} `);
        make(part, "b", {}, known ? `${estimated ? "~" : ""}${si(w, "W")}` : "unknown");
        if (estimated) part.append(" (estimated)");
      }
      for (const [domain, from, to, why] of data.gaps) {
        if (t >= from && t <= to) make(readout, "span", {}, `${domain}: no reading${why ? `, ${why}` : ""}`);
      }
      const span = data.spans[target?.dataset?.i];
      if (span) {
        const [lane, from, to, path, calls] = span;
        const part = make(readout, "span");
        make(part, "b", {}, data.paths[path].join(" › "));
        part.append(calls > 1 ? ` and others: ${calls} calls in ${si(to - from, "s")}` : ` ${si(to - from, "s")}`);
        part.append(`, thread ${data.lanes[lane][0]}`);
      }
    };
    const sayRun = (target) => {
      const run = runs[target?.dataset?.k];
      if (!run) return;
      const [lane, from, to, kernel, count, share] = run;
      const [name, region] = data.kernels[kernel];
      const part = make(readout, "span");
      make(part, "b", {}, name);
      part.append(count === 1 && share === 1 ? ` ${si(to - from, "s")}` : ` and others: ${count} began in ${si(to - from, "s")}, busy ${Number((100 * share).toPrecision(3))} %`);
      part.append(`, ${region}, ${streams[lane][0]} stream ${streams[lane][1]}`);
    };
    const hint = () => {
      readout.textContent = matchMedia("(hover: none)").matches
        ? "Touch to read a value; drag sideways to zoom."
        : "Point to read values, drag to zoom, click a region to fill the width with it.";
    };

    let start = null, cursor, area;
    const inFrame = (event) => Math.min(right, Math.max(left, event.clientX - frame.getBoundingClientRect().left));
    box.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      start = { px: inFrame(event), target: event.target };
      box.setPointerCapture(event.pointerId);
    });
    box.addEventListener("pointermove", (event) => {
      const px = inFrame(event);
      cursor?.remove();
      cursor = draw(frame, "line", { x1: px, x2: px, y1: TOP, y2: height - 4, class: "cursor" });
      area?.remove();
      if (start && Math.abs(px - start.px) > 3) {
        area = draw(frame, "rect", { x: Math.min(px, start.px), y: TOP, width: Math.abs(px - start.px), height: height - TOP - 4, class: "drag" });
      }
      say(timeAt(px), start ? null : event.target);
      if (!start) sayRun(event.target);
    });
    box.addEventListener("pointerup", (event) => {
      if (!start) return;
      const { px, target } = start, now = inFrame(event);
      start = null;
      if (Math.abs(now - px) > 5) return show(...[timeAt(px), timeAt(now)].sort((a, b) => a - b));
      const span = data.spans[target.dataset?.i] ?? runs[target.dataset?.k];
      if (span && event.pointerType !== "touch") show(span[1] - (span[2] - span[1]) * 0.02, span[2] + (span[2] - span[1]) * 0.02);
      else {
        say(timeAt(now), target);
        sayRun(target);
      }
    });
    box.addEventListener("pointercancel", () => { start = null; area?.remove(); });
    box.addEventListener("pointerleave", () => { cursor?.remove(); if (!start) hint(); });
    box.addEventListener("dblclick", () => show(0, data.duration));
    box.addEventListener("keydown", (event) => {
      const keys = {
        "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), "0": () => show(0, data.duration),
        Escape: () => show(0, data.duration), ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
      };
      if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
      frame.focus();
      say((view[0] + view[1]) / 2);
    });

    const tools = $("tools");
    tools.hidden = false;
    const tool = (text, label, act) => {
      const button = make(tools, "button", { type: "button", "aria-label": label, title: label }, text);
      button.addEventListener("click", act);
      return button;
    };
    tool("+", "Zoom in", () => zoom(0.5));
    tool("−", "Zoom out", () => zoom(2));
    const reset = tool("all", "Show the whole profile", () => show(0, data.duration));

    for (const s of data.series) {
      const button = make($("legend"), "button", { type: "button", "aria-pressed": "true" });
      const swatch = draw(button, "svg", { width: 22, height: 10, "aria-hidden": "true" });
      draw(swatch, "line", { x1: 0, x2: 22, y1: 5, y2: 5, "stroke-width": 2.4, class: `l${s.color}`, ...(s.provenance === "estimated" ? { "stroke-dasharray": "6 3" } : {}) });
      const words = make(button, "span", {}, `${s.domain} `);
      make(words, "em", {}, s.provenance + (s.counted ? "" : ", not added"));
      const toggle = () => {
        if (!hidden.delete(s)) hidden.add(s);
        button.setAttribute("aria-pressed", String(!hidden.has(s)));
      };
      // Many parts of other domains would drown the wholes.
      if (!s.counted && data.series.length > 4) toggle();
      button.addEventListener("click", () => { toggle(); paint(); });
    }
    box.classList.add("live");
    paint();
    hint();
    let wide = box.clientWidth;
    new ResizeObserver(() => {
      if (box.clientWidth === wide) return;
      wide = box.clientWidth;
      paint();
    }).observe(box);
  };

  // ---- region tree ----

  const tree = (table) => {
    const body = table.tBodies[0];
    const root = { depth: -1, inner: [], open: true };
    const line = [root];
    for (const row of [...body.rows]) {
      const node = { row, depth: Number(row.dataset.depth), inner: [], open: true };
      while (line[line.length - 1].depth >= node.depth) line.pop();
      line[line.length - 1].inner.push(node);
      line.push(node);
    }
    const each = (node, act, shown = true) => {
      for (const inner of node.inner) {
        act(inner, shown);
        each(inner, act, shown && inner.open);
      }
    };
    let words = [];
    const wanted = (row) => {
      const text = words.length ? `${row.textContent} ${row.cells[0].title}`.toLowerCase() : "";
      return words.every((word) => text.includes(word));
    };
    const box = document.querySelector(`[data-search="${table.id}"]`);
    if (box && table.id) {
      box.hidden = false;
      const field = make(box, "input", { type: "search", placeholder: "search", "aria-label": "Search kernels" });
      field.addEventListener("input", () => {
        words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
        place();
      });
    }
    const place = () => {
      const rows = document.createDocumentFragment();
      each(root, (node, shown) => { node.row.hidden = !shown || !wanted(node.row); rows.append(node.row); });
      body.append(rows);
    };
    const many = body.rows.length > 150;
    each(root, (node) => {
      if (!node.inner.length) return;
      node.open = !many || node.depth < 1;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fold";
      const name = () => {
        button.setAttribute("aria-expanded", String(node.open));
        button.setAttribute("aria-label", node.open ? "Hide inner regions" : "Show inner regions");
      };
      name();
      button.addEventListener("click", () => { node.open = !node.open; name(); place(); });
      node.row.cells[0].prepend(button);
    });
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.hasAttribute("data-sort")) return;
      const text = head.textContent;
      head.textContent = "";
      make(head, "button", { type: "button" }, text).addEventListener("click", () => {
        const numeric = head.classList.contains("num");
        const was = head.getAttribute("aria-sort");
        const direction = was ? (was === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
        heads.forEach((h) => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", direction);
        const sign = direction === "ascending" ? 1 : -1;
        const key = (node) => {
          const cell = node.row.cells[column];
          if (!numeric) return cell.textContent;
          return cell.dataset.v === "" ? NaN : Number(cell.dataset.v);
        };
        const compare = (a, b) => {
          const [p, q] = [key(a), key(b)];
          if (!numeric) return sign * p.localeCompare(q);
          // What is unknown is neither large nor small: it comes last.
          return (Number.isNaN(p) - Number.isNaN(q)) || sign * (p - q) || 0;
        };
        root.inner.sort(compare);
        each(root, (node) => node.inner.sort(compare));
        place();
      });
      if (text === "Energy") head.setAttribute("aria-sort", "descending");
    });
    table.classList.toggle("live", [...body.rows].some((row) => row.querySelector(".fold")));
    place();
  };

  timeline();
  document.querySelectorAll("table.tree").forEach(tree);
})();
