-- A real browser for specs: Chromium without a window, driven over its DevTools protocol.
--
--   local browser = assert(chromium.start())     -- nil and why where there is none: see chromium.missing
--   local page = browser:open "http://127.0.0.1:8000/"
--   page:wait "document.title == 'ready'"
--   page:click "#send"
--   assert.equal("hello", page:evaluate "document.body.textContent")
--   browser:stop()
--
-- One browser serves a whole file: start it in setup, stop it in teardown. It keeps what it writes in a
-- directory of its own, which goes with it, as do all of its processes.
local cjson = require "cjson"
local proc = require "spec.support.proc"
local uv = require "luv"
local wait = require "spec.support.wait"
local websocket = require "spec.support.websocket"

local chromium = {}

local patience = 30 -- seconds for a browser on a busy machine, to start or to do what it is told

local flags = { "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--disable-dev-shm-usage", "--disable-breakpad", "--disable-extensions", "--mute-audio",
  "--remote-debugging-port=0", "--window-size=1200,900" }

local browser_methods, page_methods = {}, {}
local browser_mt = { __index = browser_methods }
local page_mt = { __index = page_methods }

-- ── The process ──────────────────────────────────────────────────────────────────────────────

--- Why there is no browser here, or nil. CHROMIUM names another program than `chromium`.
function chromium.missing()
  local name = os.getenv "CHROMIUM" or "chromium"
  for folder in (name:find "/" and "" or os.getenv "PATH"):gmatch "[^:]+" do
    if uv.fs_access(folder .. "/" .. name, "X") then return nil end
  end
  if name:find "/" and uv.fs_access(name, "X") then return nil end
  return name .. " is not installed"
end

local function read_file(path)
  local file = io.open(path, "r")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

local function remove(path)
  local done
  local process = uv.spawn("rm", { args = { "-rf", path } }, function() done = true end)
  wait.till(patience, "the removal of " .. path, function() return done end)
  process:close()
  uv.run "nowait"
end

--- All processes of a browser, also those that have left its group.
local function processes(self)
  return proc.list(function(process)
    return process.state ~= "Z" and proc.environment_has(process.pid, "SPEC_CHROMIUM=" .. self.dir)
  end)
end

local function spawn(self)
  local arguments = { "--pdeathsig", "KILL", os.getenv "CHROMIUM" or "chromium",
    "--user-data-dir=" .. self.dir .. "/profile" }
  for _, flag in ipairs(flags) do arguments[#arguments + 1] = flag end
  arguments[#arguments + 1] = "about:blank"
  self.process, self.pid = uv.spawn("setpriv", { args = arguments, detached = true, env = {
    "PATH=" .. os.getenv "PATH", "HOME=" .. self.dir, "TMPDIR=" .. self.dir, "LANG=C.UTF-8", "TZ=UTC",
    "SPEC_CHROMIUM=" .. self.dir,
  } }, function(status) self.status = status end)
  assert(self.process, self.pid)
end

--- The port and path of its DevTools, once it has written them down.
local function debugging_target(self)
  local port, path
  wait.till(patience, "Chromium to start", function()
    port, path = (read_file(self.dir .. "/profile/DevToolsActivePort") or ""):match "^(%d+)\n(/%S+)"
    return path or self.status
  end)
  return assert(tonumber(port), "Chromium has ended, status " .. tostring(self.status)), path
end

--- Starts a browser.
-- @return browser, or nil and the reason
function chromium.start()
  local reason = chromium.missing()
  if reason then return nil, reason end
  local self = setmetatable({ dir = assert(uv.fs_mkdtemp "/tmp/perigee-chromium-XXXXXX"), number = 0,
    pages = {} }, browser_mt)
  spawn(self)
  local ok, problem = pcall(function()
    local port, path = debugging_target(self)
    self.socket = websocket.open(port, path)
  end)
  if ok then return self end
  self:stop()
  return nil, problem
end

--- Ends it, and leaves nothing behind.
function browser_methods:stop()
  if self.socket then
    pcall(self.call, self, "Browser.close")
    self.socket:close()
    wait.try(3, function() return self.status end)
  end
  for _, process in ipairs(processes(self)) do uv.kill(process.pid, "sigkill") end
  wait.till(patience, "Chromium's end", function() return self.status and #processes(self) == 0 end)
  self.process:close()
  remove(self.dir)
end

-- ── The protocol ─────────────────────────────────────────────────────────────────────────────

local on_event = {}

on_event["Page.javascriptDialogOpening"] = function(page)
  page:send("Page.handleJavaScriptDialog", { accept = true, promptText = page.prompt_text })
end

on_event["Runtime.exceptionThrown"] = function(page, params)
  local details = params.exceptionDetails
  page.errors[#page.errors + 1] = details.exception and details.exception.description or details.text
end

on_event["Log.entryAdded"] = function(page, params)
  local url = params.entry.url or ""
  if params.entry.level == "error" and not url:find "/favicon%.ico$" then
    page.errors[#page.errors + 1] = params.entry.text .. " " .. url
  end
end

local function send(self, method, params, session)
  self.number = self.number + 1
  self.socket:text(cjson.encode { id = self.number, method = method, params = params or nil,
    sessionId = session })
  return self.number
end

--- Takes what the browser says until the answer to call `number`. Raises what it calls an error.
local function answer_to(self, number, method)
  while true do
    local frame = self.socket:message(patience)
    if not frame then error(("Chromium did not answer %s"):format(method), 3) end
    local message = cjson.decode(frame.payload)
    local page = self.pages[message.sessionId]
    if page and on_event[message.method] then on_event[message.method](page, message.params) end
    if message.id == number then
      if message.error then error(("%s: %s"):format(method, message.error.message), 3) end
      return message.result
    end
  end
end

--- A command of the protocol: https://chromedevtools.github.io/devtools-protocol/
function browser_methods:call(method, params, session)
  return answer_to(self, send(self, method, params, session), method)
end

-- ── Pages ────────────────────────────────────────────────────────────────────────────────────

--- Opens a page, in cookies and storage apart from all others unless `options.together`, and waits until
-- it is loaded. `options.prompt` is what it gets when it asks for a word.
-- @return page: { errors = list of what went wrong in it, as its console says it }
function browser_methods:open(url, options)
  options = options or {}
  local context = not options.together and self:call "Target.createBrowserContext".browserContextId or nil
  local target = self:call("Target.createTarget",
    { url = "about:blank", browserContextId = context }).targetId
  local session = self:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  local page = setmetatable({ browser = self, session = session, target = target, context = context,
    errors = {}, prompt_text = options.prompt }, page_mt)
  self.pages[session] = page
  for _, domain in ipairs { "Page", "Runtime", "Log", "DOM" } do page:call(domain .. ".enable") end
  page:go(url)
  return page
end

function page_methods:call(method, params) return self.browser:call(method, params, self.session) end

--- As call, without waiting for the answer.
function page_methods:send(method, params) send(self.browser, method, params, self.session) end

--- Goes to another URL and waits until it is loaded.
function page_methods:go(url)
  local failure = self:call("Page.navigate", { url = url }).errorText
  if failure then error(("%s: %s"):format(url, failure), 2) end
  self:wait "document.readyState == 'complete'"
end

--- The value of an expression; of a promise, what it comes to. Raises what the page raises.
function page_methods:evaluate(expression)
  local result = self:call("Runtime.evaluate", { expression = expression, awaitPromise = true,
    returnByValue = true, userGesture = true })
  local problem = result.exceptionDetails
  if problem then
    local exception = problem.exception
    error(("%s\n%s"):format(expression, exception and exception.description or problem.text), 2)
  end
  return result.result.value
end

--- Waits until an expression is true, also over a change of the page. Returns its value.
function page_methods:wait(expression, seconds)
  local value, problem
  local done = wait.try(seconds or patience, function()
    local ok, result = pcall(self.evaluate, self, expression)
    value, problem = ok and result, not ok and result
    return value and value ~= cjson.null
  end)
  if done then return value end
  error(("waited for %s\n%s\nerrors: %s\npage: %s"):format(expression, problem or "",
    table.concat(self.errors, "\n"), tostring(self:text())), 2)
end

--- All text that the page shows.
function page_methods:text() return self:evaluate "document.body ? document.body.innerText : ''" end

local function element(selector)
  return ("document.querySelector(%s)"):format(cjson.encode(selector))
end

--- Clicks on what a CSS selector finds, once it is there.
function page_methods:click(selector)
  self:wait(element(selector) .. " != null")
  self:evaluate(element(selector) .. ".click()")
end

--- Puts text into a field, as typing would.
function page_methods:fill(selector, text)
  self:wait(element(selector) .. " != null")
  self:evaluate(element(selector) .. ".focus()")
  self:evaluate(element(selector) .. ".select?.()")
  self:call("Input.insertText", { text = text })
end

--- Chooses files, by their paths, in an <input type="file">.
function page_methods:choose(selector, paths)
  local object = self:call("Runtime.evaluate", { expression = element(selector) }).result.objectId
  self:call("DOM.setFileInputFiles", { files = paths, objectId = object })
end

--- Writes what the page looks like to a PNG file.
function page_methods:screenshot(path)
  local data = self:call("Page.captureScreenshot", { format = "png" }).data
  local file = assert(io.open(path, "wb"))
  local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
  for quad in data:gmatch "...." do
    local number, filling = 0, 0
    for character in quad:gmatch "." do
      filling = filling + (character == "=" and 1 or 0)
      number = number * 64 + (character == "=" and 0 or alphabet:find(character, 1, true) - 1)
    end
    local bytes = string.char(math.floor(number / 65536), math.floor(number / 256) % 256, number % 256)
    file:write(bytes:sub(1, 3 - filling))
  end
  file:close()
end

--- Closes the page, and forgets its cookies and storage.
function page_methods:close()
  self.browser.pages[self.session] = nil
  self.browser:call("Target.closeTarget", { targetId = self.target })
  if self.context then
    self.browser:call("Target.disposeBrowserContext", { browserContextId = self.context })
  end
end

return chromium
