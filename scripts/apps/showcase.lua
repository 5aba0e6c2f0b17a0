-- A tour of Perigee in one file. Run it, open it, change it, and send the manager a SIGHUP:
--
--   perigee serve scripts/apps/showcase.lua --workers 2
--
local perigee = require "perigee"
local http = require "perigee.http"

local app = perigee.app "showcase"

-- The main process runs this once, before the workers are forked. What is shared is made here:
-- every worker sees the same counter, and a reload finds it as it was.
app:main_process_start(function()
  app.shared.visits = perigee.shared.value("visits", "int64")
end)

-- Each worker runs this before it accepts its first connection.
app:before_server_start(function()
  app.ctx.started = os.time()
end)

-- Routes: the first that fits the method and the path answers.

app:get("/", function()
  app.shared.visits:add(1)
  return http.html(app.ctx.page)
end)

-- A string is text/plain.
app:get("/hello/<name>", function(_, name)
  return "Hello, " .. name .. "!\n"
end)

-- A table is JSON. <a:int> is a number here; /api/add/1/x is 404.
app:get("/api/add/<a:int>/<b:int>", function(_, a, b)
  return { a = a, b = b, sum = a + b }
end)

-- Who answers? Reload the page: the kernel spreads connections over the workers.
app:get("/api/who", function(req)
  return {
    pid = app.m.pid,
    slot = app.m.slot,
    generation = app.m.generation,
    up = os.time() - app.ctx.started,
    visits = app.shared.visits:get(),
    ip = req.ip,
  }
end)

app:post("/api/count", function()
  return { visits = app.shared.visits:add(1), pid = app.m.pid }
end)

app:post("/api/echo", function(req)
  return { you_sent = req.json }
end)

-- Waiting parks this handler's coroutine; the worker goes on with other requests.
app:get("/sleep/<seconds:float>", function(_, seconds)
  if seconds > 10 then http.abort(400, "at most 10 seconds, please") end
  perigee.sleep(seconds)
  return ("slept %g s in process %d\n"):format(seconds, app.m.pid)
end)

-- A body sent in pieces, as they come.
app:get("/countdown", function()
  return http.stream(function(write)
    for i = 5, 1, -1 do
      if not write(i .. "\n") then return end -- the client has gone
      perigee.sleep(0.2)
    end
    write("lift-off\n")
  end)
end)

-- An error is logged with file:line and answered with 500; the worker lives on.
app:get("/oops", function()
  return app.ctx.nothing.here
end)

app:exception(404, function(req)
  if req.path:sub(1, 5) == "/api/" then
    return http.json({ error = "no such thing", path = req.path }, 404)
  end
end)

app:on_response(function(_, response)
  response.headers["X-Answered-By"] = app.m.name
end)

app.ctx.page = [[
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Perigee showcase</title>
<style>
  :root { color-scheme: light dark; --ink: #1b2333; --paper: #f6f7fb; --card: #fff; --line: #dfe3ee;
    --accent: #4657d8; --soft: #6b7590; }
  @media (prefers-color-scheme: dark) { :root { --ink: #e6e9f5; --paper: #10131c; --card: #191e2b;
    --line: #2b3246; --accent: #93a0ff; --soft: #97a0b8; } }
  * { box-sizing: border-box; }
  body { margin: 0 auto; max-width: 58rem; padding: 3rem 1.25rem; background: var(--paper);
    color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
  header { display: flex; gap: 1.25rem; align-items: center; margin-bottom: 2rem; }
  h1 { margin: 0; font-size: 2rem; letter-spacing: -.02em; }
  header p { margin: .2rem 0 0; color: var(--soft); }
  main { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); }
  section { background: var(--card); border: 1px solid var(--line); border-radius: .9rem;
    padding: 1.2rem; }
  h2 { margin: 0 0 .4rem; font-size: 1rem; }
  section p { margin: 0 0 .8rem; color: var(--soft); font-size: .92rem; }
  .big { font-size: 2.4rem; font-weight: 650; font-variant-numeric: tabular-nums; }
  button { font: inherit; padding: .4rem .9rem; border: 0; border-radius: .5rem; background: var(--accent);
    color: var(--paper); cursor: pointer; }
  button:focus-visible { outline: 3px solid var(--ink); outline-offset: 2px; }
  input { font: inherit; width: 5rem; padding: .3rem .5rem; border: 1px solid var(--line);
    border-radius: .5rem; background: transparent; color: inherit; }
  pre { margin: .8rem 0 0; min-height: 3.2em; white-space: pre-wrap; overflow-wrap: anywhere;
    font: .85rem/1.5 ui-monospace, monospace; }
  footer { margin-top: 2rem; color: var(--soft); font-size: .9rem; }
  code { font-family: ui-monospace, monospace; }
</style>
<header>
  <svg width="64" height="64" viewBox="0 0 64 64" fill="none" aria-hidden="true">
    <ellipse cx="32" cy="32" rx="29" ry="14" stroke="var(--line)" stroke-width="2"
      transform="rotate(-24 32 32)"/>
    <circle cx="32" cy="32" r="11" fill="var(--accent)"/>
    <circle cx="9" cy="37" r="4" fill="var(--ink)">
      <animateTransform attributeName="transform" type="rotate" from="0 32 32" to="360 32 32" dur="9s"
        repeatCount="indefinite"/>
    </circle>
  </svg>
  <div><h1>Perigee</h1><p>Your Lua, in several processes, looked after.</p></div>
</header>
<main>
  <section><h2>Who answers</h2><p>Each connection goes to one of the workers.</p>
    <button data-get="/api/who">Ask</button><pre id="who"></pre></section>
  <section><h2>A counter all workers share</h2><p>In shared memory; it survives crashes and reloads.</p>
    <div class="big" id="visits" aria-live="polite">–</div><button id="count">Add one</button></section>
  <section><h2>Parameters with types</h2><p><code>/api/add/&lt;a:int&gt;/&lt;b:int&gt;</code></p>
    <input id="a" value="19" aria-label="a"> + <input id="b" value="23" aria-label="b">
    <button id="add">Add</button><pre id="sum"></pre></section>
  <section><h2>Waiting costs nothing</h2><p>Twenty handlers sleep half a second, at the same time.</p>
    <button id="sleep">Sleep × 20</button><pre id="slept"></pre></section>
  <section><h2>A body in pieces</h2><p>Sent as it is made.</p>
    <button id="stream">Count down</button><pre id="pieces"></pre></section>
  <section><h2>A mistake</h2><p>The handler raises. Look at the terminal for file and line.</p>
    <button data-get="/oops">Raise</button><pre id="oops"></pre></section>
</main>
<footer>This page is <code>scripts/apps/showcase.lua</code>. Change it, then
  <code>kill -HUP</code> the manager: the new code serves, and nobody loses a request.</footer>
<script>
  const $ = id => document.getElementById(id);
  const show = async (url, into, options) => {
    const answer = await fetch(url, { cache: 'no-store', ...options });
    into.textContent = (answer.ok ? '' : answer.status + ' ') + await answer.text();
    return answer;
  };
  document.querySelectorAll('[data-get]').forEach(button =>
    button.onclick = () => show(button.dataset.get, button.parentElement.querySelector('pre')));
  const count = async (method, url) =>
    $('visits').textContent = (await (await fetch(url, { method })).json()).visits;
  $('count').onclick = () => count('POST', '/api/count');
  $('add').onclick = () => show(`/api/add/${$('a').value}/${$('b').value}`, $('sum'));
  $('sleep').onclick = async () => {
    const start = performance.now();
    await Promise.all(Array.from({ length: 20 }, () => fetch('/sleep/0.5')));
    $('slept').textContent = `all done after ${Math.round(performance.now() - start)} ms`;
  };
  $('stream').onclick = async () => {
    $('pieces').textContent = '';
    const reader = (await fetch('/countdown')).body.getReader(), text = new TextDecoder();
    for (let part; !(part = await reader.read()).done;) $('pieces').textContent += text.decode(part.value);
  };
  count('GET', '/api/who');
</script>
</html>
]]

return app
