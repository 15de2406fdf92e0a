"use strict";
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (e) => { root.dataset.error = String(e.message); });
  const page = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const el = (name, attributes, text) => {
    const node = document.createElement(name);
    for (const key in attributes || {}) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const shape = (parent, name, attributes, text) => {
    const node = document.createElementNS(SVG, name);
    for (const key in attributes || {}) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.append(node);
    return node;
  };
  const colour = (i) => `var(--c${i % 8})`;
  const known = (v) => v !== null && v !== undefined;
  const fixed = (v, digits) => known(v) ? v.toFixed(digits).replace("-", "\u2212") : "\u2013";
  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

  // --- Ticks -----------------------------------------------------------------
  function ticks(low, high, wanted) {
    const span = high - low;
    if (!(span > 0)) return { step: 1, at: [low] };
    const raw = span / Math.max(wanted, 1);
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
    const at = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) at.push(k * step);
    return { step, at };
  }
  const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const clock = (s, step) => {
    const digits = decimals(step);
    if (s < 60) return `${s.toFixed(digits)} s`;
    const minutes = Math.floor(s / 60);
    return `${minutes}:${(s - minutes * 60).toFixed(digits).padStart(2 + (digits ? digits + 1 : 0), "0")}`;
  };

  // --- Frame charts ----------------------------------------------------------
  const candidates = page.candidates;
  const hidden = new Set();
  const plots = [];
  const sortedCache = new Map();
  let sorted = false;
  const full = [Infinity, -Infinity];
  for (const c of candidates) {
    if (!c.time_s.length) continue;
    full[0] = Math.min(full[0], c.time_s[0]);
    full[1] = Math.max(full[1], c.time_s[c.time_s.length - 1]);
  }
  if (!(full[1] > full[0])) full[1] = full[0] + 1;
  const extent = () => sorted ? [0, 100] : full;
  let view = [full[0], full[1]];

  // x and y of a candidate's column, as they are drawn.
  function series(index, column) {
    if (!sorted) return { x: candidates[index].time_s, y: candidates[index].values[column], frame: null };
    const key = `${index}/${column}`;
    if (!sortedCache.has(key)) {
      const y = candidates[index].values[column];
      const frame = y.map((_, i) => i).filter((i) => known(y[i]));
      const sign = page.columns[column].higher_is_better ? 1 : -1;
      frame.sort((a, b) => sign * (y[a] - y[b]));
      const last = Math.max(frame.length - 1, 1);
      sortedCache.set(key, { x: frame.map((_, i) => 100 * i / last), y: frame.map((i) => y[i]), frame });
    }
    return sortedCache.get(key);
  }
  function first(x, at) {
    let low = 0, high = x.length;
    while (low < high) { const mid = (low + high) >> 1; if (x[mid] < at) low = mid + 1; else high = mid; }
    return low;
  }
  function nearest(x, at) {
    const i = first(x, at);
    if (i === 0) return 0;
    if (i === x.length) return i - 1;
    return at - x[i - 1] <= x[i] - at ? i - 1 : i;
  }

  class Plot {
    constructor(column) {
      this.column = column;
      this.spec = page.columns[column];
      this.box = el("div", { class: "plot" });
      const top = el("div", { class: "top" });
      const title = el("h3", {}, this.spec.label);
      if (this.spec.unit) title.append(" ", el("span", { class: "unit" }, this.spec.unit));
      this.legend = el("div", { class: "legend" });
      this.where = el("span", { class: "where" });
      top.append(title, this.legend, this.where);
      this.svg = shape(this.box, "svg", { tabindex: 0, role: "img", "aria-label": `${this.spec.label} of each frame` });
      this.box.prepend(top);
      this.entries = candidates.map((c, i) => {
        const button = el("button", { type: "button", title: c.name });
        const dot = el("i", { class: "dot" });
        dot.style.background = colour(i);
        const value = el("b");
        button.append(dot, el("span", { class: "label" }, c.name), value);
        button.addEventListener("click", () => {
          if (hidden.has(i)) hidden.delete(i); else hidden.add(i);
          drawAll();
        });
        this.legend.append(button);
        return { button, value };
      });
      this.listen();
    }
    get width() { return Math.max(this.svg.clientWidth, 200); }
    x(t) { return this.left + (t - view[0]) / (view[1] - view[0]) * this.inner; }
    t(x) { return view[0] + clamp((x - this.left) / this.inner, 0, 1) * (view[1] - view[0]); }
    y(v) { return this.top + (1 - (v - this.low) / (this.high - this.low)) * this.tall; }

    draw() {
      const svg = this.svg, w = this.width, h = 230;
      svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
      svg.style.height = `${h}px`;
      svg.replaceChildren();
      this.left = 52; this.top = 8; this.inner = w - this.left - 14; this.tall = h - this.top - 24;
      let low = Infinity, high = -Infinity;
      const shown = [];
      candidates.forEach((_, i) => {
        this.entries[i].button.classList.toggle("off", hidden.has(i));
        if (hidden.has(i)) return;
        const s = series(i, this.column);
        const from = Math.max(first(s.x, view[0]) - 1, 0);
        const to = Math.min(first(s.x, view[1]) + 1, s.x.length);
        for (let k = from; k < to; k++) {
          const v = s.y[k];
          if (!known(v)) continue;
          if (v < low) low = v;
          if (v > high) high = v;
        }
        shown.push({ i, s, from, to });
      });
      if (low > high) { low = 0; high = 1; }
      const pad = (high - low) * 0.06 || Math.abs(high) * 0.01 || 1;
      this.low = low - pad; this.high = high + pad;
      const yt = ticks(this.low, this.high, 5);
      for (const v of yt.at) {
        const y = this.y(v);
        shape(svg, "line", { class: "grid", x1: this.left, x2: this.left + this.inner, y1: y, y2: y });
        shape(svg, "text", { x: this.left - 7, y: y + 4, "text-anchor": "end" }, fixed(v, decimals(yt.step)));
      }
      const xt = ticks(view[0], view[1], this.inner / 110);
      for (const t of xt.at) {
        const x = this.x(t);
        shape(svg, "line", { class: "grid", x1: x, x2: x, y1: this.top, y2: this.top + this.tall });
        const label = sorted ? `${t.toFixed(decimals(xt.step))} %` : clock(t, xt.step);
        shape(svg, "text", { x, y: this.top + this.tall + 16, "text-anchor": "middle" }, label);
      }
      shape(svg, "line", { class: "axis", x1: this.left, x2: this.left + this.inner, y1: this.top + this.tall, y2: this.top + this.tall });
      const clip = shape(svg, "clipPath", { id: `clip${this.column}` });
      shape(clip, "rect", { x: this.left, y: 0, width: this.inner, height: h });
      const group = shape(svg, "g", { "clip-path": `url(#clip${this.column})` });
      for (const { i, s, from, to } of shown) {
        shape(group, "path", { class: "line", stroke: colour(i), d: this.path(s, from, to), "data-series": i });
      }
      if (!sorted && this.spec.name === page.worst_by) {
        for (const { i, s } of shown) {
          for (const row of candidates[i].worst || []) {
            const v = s.y[row], frame = candidates[i].frames[row];
            if (!known(v) || s.x[row] < view[0] || s.x[row] > view[1]) continue;
            const mark = shape(group, "circle", { class: "mark", cx: this.x(s.x[row]), cy: this.y(v), r: 4.5, fill: colour(i) });
            shape(mark, "title", {}, `frame ${frame}: shown below`);
            mark.addEventListener("click", () => { location.hash = `shot-${i}-${frame}`; });
          }
        }
      }
      this.over = shape(svg, "g", { "pointer-events": "none" });
      this.drawn = shown;
      this.hover(null);
    }
    // One point a frame, or the least and the greatest of each pixel column.
    path(s, from, to) {
      const parts = [];
      let pen = false;
      const put = (x, v) => {
        parts.push(`${pen ? "L" : "M"}${x.toFixed(1)} ${this.y(v).toFixed(1)}`);
        pen = true;
      };
      if (to - from <= this.inner * 2.5) {
        for (let k = from; k < to; k++) {
          if (known(s.y[k])) put(this.x(s.x[k]), s.y[k]); else pen = false;
        }
        return parts.join("");
      }
      let k = from;
      while (k < to) {
        const column = Math.floor(this.x(s.x[k]));
        let least = -1, most = -1;
        for (; k < to && Math.floor(this.x(s.x[k])) === column; k++) {
          if (!known(s.y[k])) continue;
          if (least < 0 || s.y[k] < s.y[least]) least = k;
          if (most < 0 || s.y[k] > s.y[most]) most = k;
        }
        if (least < 0) { pen = false; continue; }
        for (const i of least < most ? [least, most] : [most, least]) put(column, s.y[i]);
      }
      return parts.join("");
    }
    hover(t) {
      this.over.replaceChildren();
      if (this.band) {
        const [a, b] = this.band.map((v) => this.x(v)).sort((p, q) => p - q);
        shape(this.over, "rect", { class: "band", x: a, width: b - a, y: this.top, height: this.tall });
      }
      let said = "";
      candidates.forEach((c, i) => {
        const { value } = this.entries[i];
        if (t === null) {
          const p = c.pooled[this.column];
          value.textContent = fixed(p ? p.mean : null, this.spec.digits);
          return;
        }
        const s = series(i, this.column);
        if (!s.x.length) return;
        const k = nearest(s.x, t);
        value.textContent = fixed(s.y[k], this.spec.digits);
        if (hidden.has(i)) return;
        if (!said) {
          said = sorted ? `${s.x[k].toFixed(1)} % of the frames are no better` : `frame ${c.frames[k]}, ${clock(s.x[k], 0.001)}`;
          const x = this.x(s.x[k]);
          shape(this.over, "line", { class: "cursor", x1: x, x2: x, y1: this.top, y2: this.top + this.tall });
        }
        if (known(s.y[k])) shape(this.over, "circle", { cx: this.x(s.x[k]), cy: this.y(s.y[k]), r: 3.5, fill: colour(i) });
      });
      this.where.textContent = t === null ? "mean" : said;
    }
    listen() {
      const svg = this.svg;
      let start = null;
      const at = (e) => this.t(e.clientX - svg.getBoundingClientRect().left);
      svg.addEventListener("pointermove", (e) => {
        if (start && start.shift) {
          const span = view[1] - view[0];
          const moved = (start.x - e.clientX) / this.inner * span;
          show(start.view[0] + moved, start.view[1] + moved);
          return;
        }
        const t = at(e);
        if (start) this.band = [start.t, t];
        for (const p of plots) p.hover(t);
      });
      svg.addEventListener("pointerleave", () => { if (!start) for (const p of plots) p.hover(null); });
      svg.addEventListener("pointerdown", (e) => {
        if (e.button !== 0 || e.target.classList.contains("mark")) return;
        start = { x: e.clientX, t: at(e), shift: e.shiftKey, view: [...view] };
        try { svg.setPointerCapture(e.pointerId); } catch (_) { /* a pointer that has gone */ }
      });
      const end = (e) => {
        if (!start) return;
        const { x, t, shift } = start;
        start = null;
        this.band = null;
        if (!shift && e.type === "pointerup" && Math.abs(e.clientX - x) > 5) show(Math.min(t, at(e)), Math.max(t, at(e)));
        else this.hover(null);
      };
      svg.addEventListener("pointerup", end);
      svg.addEventListener("pointercancel", end);
      svg.addEventListener("dblclick", () => show(...extent()));
      svg.addEventListener("wheel", (e) => {
        // Without Ctrl, and unless the chart was clicked, the wheel belongs to the page.
        if (!e.ctrlKey && !e.metaKey && document.activeElement !== svg) return;
        e.preventDefault();
        zoom(e.deltaY < 0 ? 0.8 : 1.25, at(e));
      }, { passive: false });
      svg.addEventListener("keydown", (e) => {
        const span = view[1] - view[0], middle = (view[0] + view[1]) / 2;
        if (e.key === "ArrowLeft") show(view[0] - span / 8, view[1] - span / 8);
        else if (e.key === "ArrowRight") show(view[0] + span / 8, view[1] + span / 8);
        else if (e.key === "+" || e.key === "=") zoom(0.8, middle);
        else if (e.key === "-") zoom(1.25, middle);
        else if (e.key === "0" || e.key === "Escape") show(...extent());
        else return;
        e.preventDefault();
      });
    }
  }
  function zoom(factor, about) {
    const span = (view[1] - view[0]) * factor;
    const part = (about - view[0]) / (view[1] - view[0]);
    show(about - part * span, about + (1 - part) * span);
  }
  function show(from, to) {
    const [low, high] = extent();
    const longest = Math.max(1, ...candidates.map((c) => c.time_s.length));
    const least = (high - low) / longest * 3;
    let span = clamp(to - from, Math.min(least, high - low), high - low);
    const start = clamp((from + to - span) / 2, low, high - span);
    view = [start, start + span];
    drawAll();
  }
  function drawAll() { for (const p of plots) p.draw(); }

  const place = document.getElementById("plots");
  if (place) {
    root.classList.add("ready");
    const chips = document.getElementById("chips");
    const measured = page.columns.map((_, k) => candidates.some((c) => (c.values[k] || []).some(known)));
    const on = new Set(page.columns.map((c, k) => c.main && measured[k] ? k : -1).filter((k) => k >= 0));
    const arrange = () => {
      plots.length = 0;
      place.replaceChildren();
      page.columns.forEach((_, k) => {
        if (!on.has(k)) return;
        const p = new Plot(k);
        place.append(p.box);
        plots.push(p);
      });
      drawAll();
      root.dataset.plots = plots.length;
    };
    page.columns.forEach((c, k) => {
      if (!measured[k]) return;
      const chip = el("button", { type: "button", "aria-pressed": String(on.has(k)) }, c.label);
      chip.addEventListener("click", () => {
        if (on.has(k)) on.delete(k); else on.add(k);
        chip.setAttribute("aria-pressed", String(on.has(k)));
        arrange();
      });
      chips.append(chip);
    });
    document.getElementById("reset").addEventListener("click", () => show(...extent()));
    const toggle = document.getElementById("sorted");
    toggle.addEventListener("click", () => {
      sorted = !sorted;
      toggle.setAttribute("aria-pressed", String(sorted));
      show(...extent());
    });
    arrange();
  }

  // --- Rate-distortion charts --------------------------------------------------
  function rateTicks(low, high) {
    const at = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++)
      for (const f of [1, 2, 5]) { const v = f * 10 ** p; if (v >= low && v <= high) at.push(v); }
    if (at.length > 2) return at;
    return ticks(low, high, 5).at.filter((v) => v > 0);
  }
  const rateText = (v) => v >= 10000 ? `${+(v / 1000).toPrecision(3)}k` : String(+v.toPrecision(3));
  function drawRate(box, chart) {
    box.querySelector("svg")?.remove();
    box.querySelector(".legend")?.remove();
    box.querySelector(".where")?.remove();
    const legend = el("div", { class: "legend" });
    chart.series.forEach((s, i) => {
      const item = el("span", {});
      const dot = el("i", { class: "dot" });
      dot.style.background = colour(i);
      item.append(dot, s.name);
      legend.append(item);
    });
    box.append(legend);
    const svg = shape(box, "svg", { role: "img", "aria-label": `${chart.label} over rate` });
    const where = el("span", { class: "where" });
    box.append(where);
    const w = Math.max(svg.clientWidth, 260), h = 320, left = 52, top = 8, inner = w - left - 16, tall = h - top - 40;
    svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
    svg.style.height = `${h}px`;
    const all = chart.series.flatMap((s) => s.points);
    if (!all.length) return;
    const rates = all.map((p) => p[0]), qualities = all.map((p) => p[1]);
    const x0 = Math.log(Math.min(...rates) * 0.88), x1 = Math.log(Math.max(...rates) * 1.14);
    const spread = Math.max(...qualities) - Math.min(...qualities) || 1;
    const y0 = Math.min(...qualities) - spread * 0.07, y1 = Math.max(...qualities) + spread * 0.07;
    const X = (r) => left + (Math.log(r) - x0) / (x1 - x0) * inner;
    const Y = (q) => top + (1 - (q - y0) / (y1 - y0)) * tall;
    const yt = ticks(y0, y1, 6);
    for (const v of yt.at) {
      shape(svg, "line", { class: "grid", x1: left, x2: left + inner, y1: Y(v), y2: Y(v) });
      shape(svg, "text", { x: left - 7, y: Y(v) + 4, "text-anchor": "end" }, fixed(v, decimals(yt.step)));
    }
    for (const v of rateTicks(Math.exp(x0), Math.exp(x1))) {
      shape(svg, "line", { class: "grid", x1: X(v), x2: X(v), y1: top, y2: top + tall });
      shape(svg, "text", { x: X(v), y: top + tall + 16, "text-anchor": "middle" }, rateText(v));
    }
    shape(svg, "line", { class: "axis", x1: left, x2: left + inner, y1: top + tall, y2: top + tall });
    shape(svg, "text", { x: left + inner, y: h - 6, "text-anchor": "end" }, chart.rate_unit);
    chart.series.forEach((s, i) => {
      if (s.line.length) {
        const d = s.line.map((p, k) => `${k ? "L" : "M"}${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}`).join("");
        shape(svg, "path", { class: "line", stroke: colour(i), d, "data-series": i });
      }
      for (const [rate, quality, label] of s.points) {
        const mark = shape(svg, "circle", { class: "mark", cx: X(rate), cy: Y(quality), r: 5, fill: colour(i) });
        const text = `${s.name} ${label}: ${rateText(rate)} ${chart.rate_unit}, ${fixed(quality, chart.digits)} ${chart.unit}`;
        shape(mark, "title", {}, text);
        mark.addEventListener("pointerenter", () => { where.textContent = text; mark.setAttribute("r", 7); });
        mark.addEventListener("pointerleave", () => { where.textContent = ""; mark.setAttribute("r", 5); });
      }
    });
  }
  root.classList.add("ready");
  const rateBoxes = [...document.querySelectorAll(".rateplot")];
  const drawRates = () => { for (const box of rateBoxes) drawRate(box, page.rate_charts[Number(box.dataset.chart)]); };
  drawRates();
  let again = 0;
  window.addEventListener("resize", () => {
    cancelAnimationFrame(again);
    again = requestAnimationFrame(() => { drawAll(); drawRates(); });
  });

  // --- Pictures ----------------------------------------------------------------
  for (const shot of document.querySelectorAll(".shot")) {
    const stage = shot.querySelector(".stage"), slider = shot.querySelector(".slider");
    const press = (button, name) => {
      for (const b of shot.querySelectorAll(`[data-${name}]`)) b.setAttribute("aria-pressed", String(b === button));
    };
    for (const button of shot.querySelectorAll("[data-view]")) {
      button.addEventListener("click", () => {
        press(button, "view");
        const slide = button.dataset.view === "slider";
        if (slide) {
          stage.querySelector(".under").src = shot.querySelector("img.ref").src;
          stage.querySelector(".over").src = shot.querySelector("img.dist").src;
        }
        slider.hidden = !slide;
        shot.querySelector(".side").style.display = slide ? "none" : "";
      });
    }
    for (const button of shot.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => {
        press(button, "zoom");
        const z = Number(button.dataset.zoom);
        shot.classList.toggle("zoomed", z > 0);
        shot.style.setProperty("--z", z || 1);
      });
    }
    const range = stage.querySelector("input");
    range.addEventListener("input", () => stage.style.setProperty("--pos", `${range.value}%`));
  }

  // --- Theme and data ------------------------------------------------------------
  const theme = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  theme.addEventListener("click", () => {
    const now = themes[(themes.indexOf(root.dataset.theme || "auto") + 1) % themes.length];
    if (now === "auto") delete root.dataset.theme; else root.dataset.theme = now;
    theme.textContent = `Theme: ${now}`;
  });
  const save = document.getElementById("save");
  if (save) save.addEventListener("click", () => {
    const link = el("a", { download: "report.json" });
    link.href = URL.createObjectURL(new Blob([JSON.stringify(page, null, 1)], { type: "application/json" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  root.dataset.ready = "1";
})();
