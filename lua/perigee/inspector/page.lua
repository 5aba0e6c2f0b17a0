-- luacheck: ignore 631 (the lines of a page, a style sheet and a script)
--- The inspector's web page: one document, one style sheet, one script; nothing from elsewhere.
local page = {}

page.html = [==[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Perigee inspector</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<header>
  <h1><span id="name">…</span> <small id="about"></small></h1>
  <div id="actions">
    <button id="reload">Reload</button>
    <label>Workers <input id="workers" type="number" min="1" max="256" size="3"></label>
    <button id="scale">Scale</button>
    <button id="restart">Restart all</button>
    <button id="shutdown" class="danger">Shut down</button>
  </div>
</header>
<p id="message" role="status" hidden></p>
<form id="login" hidden>
  <label>Key <input id="key" type="password" autocomplete="current-password"></label>
  <button>Connect</button>
</form>
<main id="main" hidden>
  <section class="plots">
    <figure><figcaption>Requests per second <b id="rate">–</b></figcaption><canvas id="plot-rate"></canvas></figure>
    <figure><figcaption>Latency, ms (50, 99 %) <b id="latency">–</b></figcaption><canvas id="plot-latency"></canvas></figure>
    <figure><figcaption>Memory, MiB <b id="memory">–</b></figcaption><canvas id="plot-memory"></canvas></figure>
    <figure><figcaption>CPU, % of one <b id="cpu">–</b></figcaption><canvas id="plot-cpu"></canvas></figure>
  </section>
  <section>
    <h2>Processes</h2>
    <table id="processes"><thead><tr><th>name</th><th>state</th><th>pid</th><th class="n">gen</th><th class="n">age</th>
      <th class="n">starts</th><th class="n">req/s</th><th class="n">requests</th><th class="n">connections</th>
      <th class="n">cpu %</th><th class="n">MiB</th><th>last error</th><th></th></tr></thead><tbody></tbody></table>
  </section>
  <section>
    <h2>Requests in flight</h2>
    <table id="requests"><thead><tr><th>process</th><th class="n">seconds</th><th>request</th><th>client</th><th>id</th>
      <th>at</th></tr></thead><tbody></tbody></table>
  </section>
  <section id="shared-section" hidden>
    <h2>Shared objects <small id="shared-about"></small></h2>
    <table id="shared"><thead><tr><th>name</th><th>kind</th><th>shape</th><th>figures</th></tr></thead><tbody></tbody></table>
  </section>
  <section id="commands-section" hidden>
    <h2>Commands</h2>
    <div id="commands"></div>
  </section>
  <section>
    <h2>Log</h2>
    <pre id="log" tabindex="0"></pre>
  </section>
</main>
</body>
</html>
]==]

page.css = [==[
:root { color-scheme: light dark; --ink: #1b2333; --paper: #f6f7fb; --soft: #5d6781; --card: #fff; --line: #dde1ec;
  --accent: #2f5bea; --good: #14804a; --bad: #c0262d; --warn: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f5; --paper: #10131c; --soft: #97a0b8; --card: #181d2a;
  --line: #2a3142; --accent: #7c9bff; --good: #4cc38a; --bad: #ff7a80; --warn: #e2b340; } }
* { box-sizing: border-box }
body { margin: 0 auto; max-width: 80rem; padding: 1rem 1.5rem 3rem; background: var(--paper); color: var(--ink);
  font: 14px/1.45 system-ui, sans-serif }
header { display: flex; flex-wrap: wrap; gap: .75rem 2rem; align-items: center; justify-content: space-between }
h1 { font-size: 1.35rem; margin: 0 } h1 small, h2 small { color: var(--soft); font-weight: 400; font-size: .85rem }
h2 { font-size: 1rem; margin: 1.6rem 0 .5rem }
#actions { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center }
button { font: inherit; padding: .3rem .8rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--card); color: var(--ink); cursor: pointer }
button:hover:not(:disabled) { border-color: var(--accent) } button:disabled { opacity: .5; cursor: default }
button.danger { color: var(--bad) } button.small { padding: 0 .5rem; font-size: .85em }
input { font: inherit; padding: .25rem .4rem; border: 1px solid var(--line); border-radius: .4rem;
  background: var(--card); color: var(--ink) } input[type=number] { width: 4.5rem }
#message { padding: .5rem .8rem; border-radius: .4rem; border: 1px solid var(--line); background: var(--card);
  white-space: pre-wrap; margin: .8rem 0 0 } #message.good { border-color: var(--good) } #message.bad { border-color: var(--bad) }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: 1rem; margin-top: 1rem }
figure { margin: 0; padding: .6rem .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem }
figcaption { color: var(--soft); display: flex; justify-content: space-between } figcaption b { color: var(--ink) }
canvas { display: block; width: 100%; height: 5rem; margin-top: .3rem }
section { overflow-x: auto }
table { width: 100%; border-collapse: collapse; background: var(--card); border: 1px solid var(--line); border-radius: .5rem }
th, td { text-align: left; padding: .3rem .6rem; border-top: 1px solid var(--line); white-space: nowrap }
thead th { border-top: 0; color: var(--soft); font-weight: 500 } .n { text-align: right; font-variant-numeric: tabular-nums }
td.wide { white-space: normal; word-break: break-word; min-width: 12rem }
.ACKED { color: var(--good) } .FAILED, .TERMINATED { color: var(--bad) }
.RESTARTING, .STARTING, .STARTED, .JOINED { color: var(--warn) } tr.stalled td { color: var(--bad) }
.empty td { color: var(--soft); text-align: center }
#log { height: 18rem; overflow: auto; margin: 0; padding: .6rem .8rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .5rem; font: 12px/1.4 ui-monospace, monospace; white-space: pre-wrap }
#commands form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin-bottom: .4rem }
#login { margin-top: 2rem }
]==]

page.js = [==[
"use strict"
const $ = id => document.getElementById(id)
const POINTS = 120, LOG_LINES = 1000
let key = sessionStorage.getItem("perigee-key") || ""
let before = null, logAt = null, running = 0, runs = 0, commandsShown = ""
const series = { rate: [[]], latency: [[], []], memory: [[]], cpu: [[]] }

async function ask(path, body) {
  const options = { headers: {}, cache: "no-store" }
  if (key) options.headers.Authorization = "Bearer " + key
  if (body !== undefined) {
    options.method = "POST"
    options.body = JSON.stringify(body)
    options.headers["Content-Type"] = "application/json"
  }
  const response = await fetch(path, options)
  if (response.status === 401) { showLogin(); throw new Error("the key is needed") }
  const answer = await response.json()
  if (!response.ok) throw new Error(answer.message || response.statusText)
  return answer
}

function say(text, kind) {
  const box = $("message")
  box.textContent = text
  box.className = kind || ""
  box.hidden = !text
}

function showLogin() {
  running = 0
  $("login").hidden = false
  $("main").hidden = true
  $("key").focus()
}

// ── Drawing ────────────────────────────────────────────────────────────────────────────────────

function element(tag, text, className) {
  const made = document.createElement(tag)
  if (text !== undefined && text !== null) made.textContent = text
  if (className) made.className = className
  return made
}

function fill(table, rows, columns, none) {
  const body = table.tBodies[0], made = rows.map(columns)
  if (made.length === 0) {
    const cell = element("td", none), row = element("tr", null, "empty")
    cell.colSpan = table.tHead.rows[0].cells.length
    row.append(cell)
    made.push(row)
  }
  body.replaceChildren(...made)
}

function tableRow(cells, className) {
  const row = element("tr", null, className)
  for (const [value, kind] of cells) {
    const cell = element("td", null, kind)
    if (value instanceof Node) cell.append(value); else cell.textContent = value === null || value === undefined ? "" : value
    row.append(cell)
  }
  return row
}

const round = (number, digits) => number === undefined || number === null ? "" : number.toFixed(digits)

function age(seconds) {
  if (seconds < 120) return seconds.toFixed(0) + " s"
  if (seconds < 7200) return (seconds / 60).toFixed(0) + " min"
  if (seconds < 172800) return (seconds / 3600).toFixed(0) + " h"
  return (seconds / 86400).toFixed(0) + " d"
}

function plot(name, lines) {
  const canvas = $("plot-" + name), scale = window.devicePixelRatio || 1
  const width = canvas.width = canvas.clientWidth * scale, height = canvas.height = canvas.clientHeight * scale
  const context = canvas.getContext("2d"), style = getComputedStyle(document.documentElement)
  const most = Math.max(1e-9, ...lines.flat().filter(value => value !== null))
  lines.forEach((line, index) => {
    context.beginPath()
    context.strokeStyle = style.getPropertyValue(index === 0 ? "--accent" : "--warn")
    context.lineWidth = 1.5 * scale
    let drawing = false
    line.forEach((value, i) => {
      if (value === null) { drawing = false; return }
      const x = (POINTS - line.length + i) / (POINTS - 1) * width
      const y = height - 2 - value / most * (height - 6)
      if (drawing) context.lineTo(x, y); else context.moveTo(x, y)
      drawing = true
    })
    context.stroke()
  })
}

function push(name, values, label) {
  values.forEach((value, i) => {
    const line = series[name][i]
    line.push(value === undefined ? null : value)
    if (line.length > POINTS) line.shift()
  })
  $(name).textContent = label
  plot(name, series[name])
}

// ── What is shown ──────────────────────────────────────────────────────────────────────────────

const identity = row => row.name + "/" + row.pid

function rates(state) {
  const old = new Map(before ? before.processes.map(row => [identity(row), row]) : [])
  const seconds = before ? state.now - before.now : 0
  for (const row of state.processes) {
    const last = old.get(identity(row))
    if (!last || seconds <= 0) continue
    row.rate = (row.requests - last.requests) / seconds
    if (row.cpu_seconds !== undefined && last.cpu_seconds !== undefined)
      row.cpu = Math.max(0, (row.cpu_seconds - last.cpu_seconds) / seconds * 100)
  }
  return seconds > 0 ? (state.totals.requests - before.totals.requests) / seconds : null
}

function quantile(latency, last, share) {
  if (!latency || !last) return null
  const counts = latency.counts.map((count, i) => count - last.counts[i])
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total <= 0) return null
  let seen = 0
  for (let i = 0; i < counts.length; i++) {
    if (seen + counts[i] >= share * total && counts[i] > 0) {
      const low = i === 0 ? 0 : latency.bounds[i - 1], high = i < latency.bounds.length ? latency.bounds[i] : low * 2
      return (low + (high - low) * (share * total - seen) / counts[i]) * 1000
    }
    seen += counts[i]
  }
  return null
}

function showProcesses(state) {
  fill($("processes"), state.processes, row => {
    const button = element("button", "restart", "small")
    button.onclick = () => act("restart " + row.name, "/api/restart", { name: row.name })
    return tableRow([[row.name], [row.state, row.state], [row.pid], [row.generation, "n"],
      [row.start_at ? age(state.now - row.start_at) : "", "n"], [row.starts, "n"], [round(row.rate, 0), "n"],
      [row.requests, "n"], [row.connections, "n"], [round(row.cpu, 0), "n"],
      [row.memory === undefined ? "" : round(row.memory / 1048576, 1), "n"], [row.last_error, "wide"],
      [row.role === "main" ? "" : button]])
  }, "none")
}

function showRequests(list) {
  fill($("requests"), list, row => tableRow([[row.process], [round(row.seconds, 1), "n"],
    [row.method + " " + row.target, "wide"], [row.ip], [row.id], [row.where, "wide"]], row.stalled ? "stalled" : ""),
    "none that take long")
}

function showShared(shared) {
  $("shared-section").hidden = !shared || shared.objects.length === 0
  if (!shared) return
  $("shared-about").textContent = round(shared.used / 1048576, 1) + " of " + round(shared.size / 1048576, 0) + " MiB"
  fill($("shared"), shared.objects, row => tableRow([[row.name], [row.kind], [row.shape],
    [Object.entries(row.figures || {}).map(([field, value]) => field + " " + value).join(", "), "wide"]]), "none")
}

function showCommands(list) {
  const text = JSON.stringify(list)
  if (text === commandsShown) return
  commandsShown = text
  $("commands-section").hidden = list.length === 0
  $("commands").replaceChildren(...list.map(command => {
    const form = element("form")
    const button = element("button", command.name)
    button.title = command.help || ""
    form.append(button)
    for (const argument of command.args) {
      const label = element("label", argument.name + " ")
      const input = element("input")
      input.name = argument.name
      input.required = argument.required
      if (argument.default !== undefined) input.placeholder = argument.default
      label.append(input)
      form.append(label)
    }
    form.onsubmit = event => {
      event.preventDefault()
      const given = {}
      for (const input of form.elements) if (input.name && input.value !== "") given[input.name] = input.value
      act(command.name, "/api/commands/" + encodeURIComponent(command.name), given)
    }
    return form
  }))
}

function show(state, requests) {
  $("name").textContent = state.name
  $("about").textContent = "generation " + Math.max(...state.processes.map(row => row.generation)) + ", " + state.mode +
    ", manager " + state.pid + ", Perigee " + state.version
  document.title = state.name + " – Perigee"
  const rate = rates(state)
  const old = before && before.latency
  const median = quantile(state.latency, old, .5), high = quantile(state.latency, old, .99)
  const memory = state.processes.reduce((sum, row) => sum + (row.memory || 0), 0) / 1048576
  const cpu = state.processes.reduce((sum, row) => sum + (row.cpu || 0), 0)
  if (rate !== null) {
    push("rate", [Math.max(0, rate)], round(rate, 0))
    push("latency", [median, high], median === null ? "–" : round(median, 2) + ", " + round(high, 2))
    push("cpu", [cpu], round(cpu, 0))
  }
  push("memory", [memory], round(memory, 1))
  const serving = state.processes.filter(row => row.role === "worker" && row.serving).length
  if (document.activeElement !== $("workers")) $("workers").value = serving
  showProcesses(state)
  showRequests(requests)
  showShared(state.shared)
  before = state
}

async function followLog(run) {
  while (running === run) {
    try {
      const answer = await ask("/api/logs?" + (logAt === null ? "last=16384" : "wait=20&from=" + logAt))
      logAt = answer.next
      const log = $("log"), atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 5
      log.append(answer.text)
      const lines = log.textContent.split("\n")
      if (lines.length > LOG_LINES) log.textContent = lines.slice(-LOG_LINES).join("\n")
      else log.normalize()
      if (atEnd) log.scrollTop = log.scrollHeight
    } catch (problem) {
      await new Promise(done => setTimeout(done, 1000))
    }
  }
}

async function look() {
  const [state, requests, commands] = await Promise.all([ask("/api/state"), ask("/api/requests"), ask("/api/commands")])
  showCommands(commands.commands)
  show(state, requests.requests)
}

let lost = false
async function run() {
  const own = running = ++runs
  followLog(own)
  while (running === own) {
    try {
      await look()
      $("main").hidden = false
      if (lost) say("")
      lost = false
    } catch (problem) {
      if (running !== own) return
      lost = true
      say("The inspector does not answer: " + problem.message, "bad")
    }
    await new Promise(done => setTimeout(done, 1000))
  }
}

// ── What is done ───────────────────────────────────────────────────────────────────────────────

async function act(what, path, body) {
  say(what + " …")
  for (const button of document.querySelectorAll("button")) button.disabled = true
  try {
    const answer = await ask(path, body)
    const result = answer.result === undefined || answer.result === null ? "" : ": " + JSON.stringify(answer.result)
    say(what + ": done" + (answer.message ? " (" + answer.message + ")" : "") + result, "good")
  } catch (problem) {
    say(what + ": " + problem.message, "bad")
  }
  for (const button of document.querySelectorAll("button")) button.disabled = false
}

$("reload").onclick = () => act("reload", "/api/reload", {})
$("restart").onclick = () => act("restart", "/api/restart", { name: "all" })
$("scale").onclick = () => act("scale to " + $("workers").value, "/api/scale", { workers: Number($("workers").value) })
$("shutdown").onclick = () => { if (confirm("Stop the whole app?")) act("shutdown", "/api/shutdown", {}) }
$("login").onsubmit = event => {
  event.preventDefault()
  key = $("key").value
  sessionStorage.setItem("perigee-key", key)
  $("login").hidden = true
  run()
}
run()
]==]

return page
