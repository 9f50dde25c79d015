// The signal of every channel on canvases, scrolling: <fw-signals></fw-signals>.
//
// Rules:
// * One request a second for all devices; between them the picture moves on by itself, DELAY_MS behind the present
//   or more, because what is stored comes a second at a time.
// * A frame draws what is new and shifts the rest; all is drawn anew only where a scale or a size changes.
// * Names come from devices and persons: they are set as text.
"use strict";

const DELAY_MS = 2600;
const FRAME_MS = 66;
const ROW_PX = 56;
const KEEP_MS = 30000;
const MISSING = -32768;
const MARKS = { voluntary: "voluntary", artefact: "artefact", bad_contact: "bad contact" };
const ACCELERATION = ["g", "m/s^2"]; // has no contact to lose: it settles

const decode = (text) => new Int16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
const style = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
const clock = (ms, offset) => new Date(ms + offset * 1000).toISOString().slice(11, 19);

class Channel {
  constructor(label, unit) {
    this.label = label;
    this.unit = unit;
    this.columns = new Map(); // number of a column -> [least, largest]
    this.reach = 0;
  }
  take(first, scale, data) {
    for (let n = 0; n < data.length / 2; n++) {
      if (data[2 * n] !== MISSING) this.columns.set(first + n, [data[2 * n] * scale, data[2 * n + 1] * scale]);
    }
  }
  forget(before) {
    for (const n of this.columns.keys()) {
      if (n >= before) break;
      this.columns.delete(n);
    }
  }
  // Half the height of the row: what is seen fits, and rest is not blown up to a storm.
  wanted(from, to) {
    const sizes = [];
    for (let n = from; n < to; n++) {
      const c = this.columns.get(n);
      if (c) sizes.push(Math.max(-c[0], c[1]));
    }
    if (!sizes.length) return this.reach || 1;
    sizes.sort((a, b) => a - b);
    const usual = sizes[Math.floor(sizes.length / 2)];
    const high = sizes[Math.floor(sizes.length * 0.998)];
    return Math.max(12 * usual, Math.min(1.15 * high, 60 * usual));
  }
}

class Signals extends HTMLElement {
  connectedCallback() {
    this.devices = new Map();
    this.marks = [];
    this.states = [];
    this.gaps = [];
    this.at = null; // end of what is shown, ms; null: the present
    this.offset = 0;
    this.skew = null;
    this.delay = DELAY_MS;
    this.frames = 0;
    this.drawnAt = 0;
    this.innerHTML = `<div class="signal-bar" role="toolbar" aria-label="Time">
        <button type="button" class="button" data-go="-1">Back</button>
        <button type="button" class="button" data-go="1" disabled>Forward</button>
        <button type="button" class="button" data-go="0" disabled>Live</button>
        <span class="quiet" data-when role="status"></span></div>
      <div data-canvases></div>`;
    this.when = this.querySelector("[data-when]");
    this.place = this.querySelector("[data-canvases]");
    this.addEventListener("click", (event) => {
      const go = event.target.closest("[data-go]");
      if (go) this.go(Number(go.dataset.go));
    });
    this.addEventListener("keydown", (event) => {
      if (event.target.tagName === "CANVAS" && ["ArrowLeft", "ArrowRight", "End"].includes(event.key)) {
        event.preventDefault();
        this.go({ ArrowLeft: -1, ArrowRight: 1, End: 0 }[event.key]);
      }
    });
    this.resized = new ResizeObserver(() => this.redraw());
    this.resized.observe(this.place);
    this.dark = new MutationObserver(() => this.redraw());
    this.dark.observe(document.body, { attributes: true, attributeFilter: ["class"] });
    this.poll();
    this.tick();
  }

  disconnectedCallback() {
    clearTimeout(this.polling);
    cancelAnimationFrame(this.ticking);
    this.resized.disconnect();
    this.dark.disconnect();
  }

  get width() { return Math.max(this.place.clientWidth, 240); }
  get columnMs() { return this.width < 600 ? 20 : 10; }
  get spanMs() { return this.width * this.columnMs; }
  now() { return Date.now() + (this.skew || 0) - this.delay; }
  end() { return this.at === null ? this.now() : this.at; }

  go(way) {
    if (way === 0) this.at = null;
    else {
      const step = Math.round(this.spanMs * 0.8);
      const to = (this.at === null ? this.now() : this.at) + way * step;
      this.at = to >= this.now() ? null : to;
    }
    this.querySelectorAll("[data-go='1'],[data-go='0']").forEach((b) => (b.disabled = this.at === null));
    for (const device of this.devices.values()) {
      device.until = null;
      device.channels.forEach((c) => c.columns.clear());
    }
    this.asked = null;
    clearTimeout(this.polling);
    this.poll();
  }

  async poll() {
    const width = this.columnMs;
    const end = Math.ceil((this.at === null ? Date.now() + (this.skew || 0) : this.at) / width);
    const span = Math.ceil((this.spanMs + (this.at === null ? this.delay : 0)) / width) + 10;
    const first = this.asked ? Math.max(this.asked, end - span) : end - span;
    try {
      const answer = await fetch(`/api/v1/signal?first=${first}&count=${Math.min(end - first + 1, 4000)}&column_ms=${width}`);
      if (answer.status === 401) return location.reload();
      if (answer.ok && width === this.columnMs) this.take(await answer.json());
      else if (!answer.ok) this.say("Nothing is stored yet. It appears here as soon as a device is heard.");
    } catch {
      this.say("The page's server does not answer. Trying again.");
    }
    clearTimeout(this.polling);
    if (this.at === null && this.isConnected) this.polling = setTimeout(() => this.poll(), document.hidden ? 5000 : 1000);
  }

  say(words) { if (this.when.textContent !== words) this.when.textContent = words; }

  take(said) {
    this.skew = said.now_ms - Date.now();
    this.offset = said.utc_offset_s;
    let newest = 0;
    for (const stream of said.streams) {
      let device = this.devices.get(stream.device);
      if (!device) this.devices.set(stream.device, (device = this.made(stream)));
      const key = (label) => `${stream.stream} ${label}`;
      for (const c of stream.channels) {
        let channel = device.channels.get(key(c.label));
        if (!channel) {
          device.channels.set(key(c.label), (channel = new Channel(c.label, stream.unit)));
          this.size(device);
        }
        const data = decode(c.data);
        channel.take(said.first, c.scale, data);
        for (let n = data.length / 2 - 1; n >= 0; n--) {
          if (data[2 * n] !== MISSING) { newest = Math.max(newest, said.first + n); break; }
        }
        channel.forget(said.first - KEEP_MS / said.column_ms);
      }
    }
    this.kept = said.raw_kept;
    if (newest) {
      // A computer that is busy stores late: then we are further behind, at once; and come back slowly.
      const wanted = Math.min(Math.max(DELAY_MS, said.now_ms - newest * said.column_ms + 1200), 12000);
      this.delay = wanted > this.delay ? wanted : this.delay + 0.05 * (wanted - this.delay);
    }
    if (this.at === null) this.asked = (newest || said.first) - Math.round(1500 / said.column_ms);
    this.marks = said.twitches;
    this.states = said.states;
    this.gaps = said.gaps;
    if (!said.streams.length) this.say("No signal yet.");
    this.redraw();
  }

  made(stream) {
    const box = document.createElement("figure");
    box.className = "signal";
    const caption = document.createElement("figcaption");
    caption.textContent = stream.name;
    const canvas = document.createElement("canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "img");
    box.append(caption, canvas);
    this.place.append(box);
    return { name: stream.name, canvas, strip: document.createElement("canvas"), channels: new Map(), until: null };
  }

  size(device) {
    const labels = [...device.channels.values()].map((c) => c.label).join(", ");
    const about = `Signal of ${device.name}: ${labels}. What each does now is told under Devices; arrow keys go back and forward in time.`;
    device.canvas.setAttribute("aria-label", about);
    device.until = null;
  }

  redraw() { for (const device of this.devices.values()) device.until = null; }

  tick() {
    this.ticking = requestAnimationFrame((time) => {
      if (time - this.drawnAt >= FRAME_MS && !document.hidden) {
        this.drawnAt = time;
        this.frames++;
        const end = Math.floor(this.end() / this.columnMs);
        for (const device of this.devices.values()) this.draw(device, end);
        if (this.devices.size) {
          const shown = clock(this.end(), this.offset);
          const quiet = this.kept ? "" : " The raw signal is not kept (raw.days = 0), so none can be drawn.";
          if (!quiet) this.say(this.at === null ? `Live, ${(this.delay / 1000).toFixed(1)} s behind` : `Up to ${shown}`);
          else this.say(quiet);
        }
      }
      this.tick();
    });
  }

  draw(device, end) {
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const width = this.width, rows = [...device.channels.values()], height = rows.length * ROW_PX + 18;
    const { canvas, strip } = device;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      for (const each of [canvas, strip]) { each.width = Math.round(width * ratio); each.height = Math.round(height * ratio); }
      canvas.style.height = `${height}px`;
      device.until = null;
    }
    const first = end - width;
    if (device.until === null) {
      for (const c of rows) {
        const wanted = c.wanted(first, end);
        if (!c.reach || wanted > c.reach || wanted < 0.4 * c.reach) c.reach = wanted;
      }
    }
    const colours = (this.colours = { ink: style("--ink"), trace: style("--trace"), line: style("--line"), quiet: style("--quiet"), mark: style("--mark"), band: style("--shade"), card: style("--card") });
    const context = strip.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const moved = device.until === null ? width : end - device.until;
    if (moved >= width || moved < 0) {
      context.clearRect(0, 0, width, height);
      this.trace(context, rows, first, end, first, colours);
    } else if (moved > 0) {
      context.save();
      context.setTransform(1, 0, 0, 1, 0, 0);
      context.globalCompositeOperation = "copy";
      context.drawImage(strip, -Math.round(moved * ratio), 0);
      context.restore();
      context.clearRect(width - moved, 0, moved, height);
      this.trace(context, rows, device.until, end, first, colours);
    }
    device.until = end;
    this.compose(device, canvas, strip, ratio, rows, first, end, width, height);
  }

  trace(context, rows, from, to, first, colours) {
    context.fillStyle = colours.trace;
    rows.forEach((channel, row) => {
      const middle = row * ROW_PX + ROW_PX / 2, gain = (ROW_PX / 2 - 3) / channel.reach;
      for (let n = from; n < to; n++) {
        const c = channel.columns.get(n);
        if (!c) continue;
        const before = channel.columns.get(n - 1) || c; // joined: a column begins where the one before ended
        const low = Math.min(c[0], before[1]), high = Math.max(c[1], before[0]);
        const top = Math.max(middle - high * gain, row * ROW_PX + 1), bottom = Math.min(middle - low * gain, (row + 1) * ROW_PX - 1);
        context.fillRect(n - first, top, 1, Math.max(bottom - top, 1));
      }
    });
  }

  // States and gaps below the signal, twitches and labels above it.
  compose(device, canvas, strip, ratio, rows, first, end, width, height) {
    const id = [...this.devices.entries()].find(([, each]) => each === device)[0];
    const context = canvas.getContext("2d"), x = (ms) => ms / this.columnMs - first, colours = this.colours;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12px system-ui, sans-serif";
    const row = new Map(rows.map((c, n) => [c.label, n]));
    for (const state of this.states) {
      if (state.device !== id || !row.has(state.channel)) continue;
      const left = Math.max(x(state.from_ms), 0), right = Math.min(state.to_ms === null ? width : x(state.to_ms), width), top = row.get(state.channel) * ROW_PX;
      if (right <= left) continue;
      context.fillStyle = colours.band;
      context.fillRect(left, top + 1, right - left, ROW_PX - 2);
      if (right - left > 70) {
        context.fillStyle = colours.quiet;
        const settles = state.state === "bad_contact" && ACCELERATION.includes(rows[row.get(state.channel)].unit);
        context.fillText(settles ? "settling" : MARKS[state.state] || state.state, left + 5, top + ROW_PX - 6);
      }
    }
    for (const gap of this.gaps) {
      if (gap.device !== id) continue;
      const left = Math.max(x(gap.from_ms), 0), right = Math.min(x(gap.to_ms), width);
      if (right - left < 2) continue;
      context.save();
      context.beginPath();
      context.rect(left, 0, right - left, height - 18);
      context.clip();
      context.strokeStyle = colours.line;
      for (let at = left - height; at < right; at += 8) { context.beginPath(); context.moveTo(at, height); context.lineTo(at + height, 0); context.stroke(); }
      context.restore();
      if (right - left > 90) { context.fillStyle = colours.quiet; context.fillText(`not received: ${gap.reason}`, left + 5, 14); }
    }
    context.drawImage(strip, 0, 0, width, height);
    context.strokeStyle = colours.line;
    rows.forEach((channel, n) => {
      context.beginPath(); context.moveTo(0, (n + 1) * ROW_PX - 0.5); context.lineTo(width, (n + 1) * ROW_PX - 0.5); context.stroke();
    });
    for (const twitch of this.marks) {
      const at = x(twitch.ms);
      if (twitch.device !== id || !row.has(twitch.channel) || at < 0 || at > width) continue;
      const top = row.get(twitch.channel) * ROW_PX;
      context.fillStyle = colours.mark;
      context.beginPath(); context.moveTo(at - 5, top + 1); context.lineTo(at + 5, top + 1); context.lineTo(at, top + 9); context.fill();
      context.globalAlpha = 0.16;
      context.fillRect(at - 1, top + 1, Math.max(twitch.duration_ms / this.columnMs, 2) + 2, ROW_PX - 2);
      context.globalAlpha = 1;
    }
    rows.forEach((channel, n) => {
      const reach = channel.reach >= 100 ? channel.reach.toFixed(0) : channel.reach >= 1 ? channel.reach.toFixed(1) : channel.reach.toFixed(3);
      const words = channel.label, size = `±${reach} ${channel.unit}`;
      context.font = "600 12px system-ui, sans-serif";
      const wide = context.measureText(words).width;
      context.globalAlpha = 0.8; context.fillStyle = colours.card;
      context.fillRect(2, n * ROW_PX + 3, wide + 8, 17);
      context.globalAlpha = 1; context.fillStyle = colours.ink;
      context.fillText(words, 6, n * ROW_PX + 16);
      context.font = "11px system-ui, sans-serif";
      context.fillStyle = colours.quiet;
      context.textAlign = "right"; context.fillText(size, width - 4, n * ROW_PX + 15); context.textAlign = "left";
    });
    context.fillStyle = colours.quiet;
    context.font = "11px system-ui, sans-serif";
    const second = 1000 / this.columnMs, step = width / second > 12 ? 2 : 1;
    for (let s = Math.ceil(first / second / step) * step; s * second < end; s += step) {
      const at = s * second - first;
      context.fillRect(at, height - 18, 1, 4);
      if (at > 24 && at < width - 24 && (s / step) % 2 === 0) { context.textAlign = "center"; context.fillText(clock(s * 1000, this.offset), at, height - 3); context.textAlign = "left"; }
    }
  }
}

customElements.define("fw-signals", Signals);
