--- `perigee inspect`: the inspector on the command line.
---
---     perigee inspect [state|top|requests|logs [-f]]       what there is
---     perigee inspect reload|restart [NAME]|scale N|shutdown
---     perigee inspect COMMAND [name=value]…                the app's own commands
---
--- The exit status is 0 when what was asked for has happened.
local uv = require "luv"

local client = require "perigee.inspector.client"
local handles = require "perigee.handles"
local json = require "perigee.json"
local nearest = require "perigee.nearest"
local tables = require "perigee.inspector.tables"

local command = {}

local DEFAULT_ADDRESS = "unix:perigee.sock"
local CLEAR = "\27[H\27[2J"

--- Asks and decodes. Raises, as a string, when there is no good answer.
local function ask(options, method, path, given)
  local status, text = client.ask(options.address, method, path, given and json.encode(given), options.key)
  if not status then error(text, 0) end
  local answer = json.decode(text)
  if type(answer) ~= "table" then
    error(("the inspector answered with status %d and no JSON"):format(status), 0)
  end
  if status ~= 200 then
    error(answer.message or ("the inspector answered with status %d"):format(status), 0)
  end
  return answer
end

local function sleep(seconds)
  local timer, done = uv.new_timer(), false
  timer:start(seconds * 1000, 0, function() done = true end)
  while not done do handles.run_once() end
  done = false
  timer:close(function() done = true end)
  while not done do handles.run_once() end
end

--- Shows something once, or again and again.
local function show(options, look, draw)
  while true do
    local seen = look()
    if options.json then
      print(json.encode(seen))
    else
      if options.watch then io.write(CLEAR) end
      io.write(draw(seen))
    end
    if not options.watch then return end
    io.flush()
    sleep(1)
  end
end

local actions = {}

function actions.state(options)
  show(options, function() return ask(options, "GET", "/api/state") end, tables.state)
end

--- State with what each process does per second; the first look is a second before the one shown.
function actions.top(options)
  local before = ask(options, "GET", "/api/state")
  sleep(1)
  show(options, function()
    local now = ask(options, "GET", "/api/state")
    tables.rates(now, before)
    before = now
    return now
  end, tables.top)
end

function actions.requests(options)
  show(options, function() return ask(options, "GET", "/api/requests").requests end, tables.requests)
end

function actions.logs(options)
  local answer = ask(options, "GET", "/api/logs?last=" .. options.bytes)
  io.write(answer.text)
  while options.follow do
    io.flush()
    answer = ask(options, "GET", ("/api/logs?wait=20&from=%d"):format(answer.next))
    io.write(answer.text)
  end
end

--- Does something and says what became of it.
local function act(options, path, given)
  local answer = ask(options, "POST", path, given)
  if options.json then
    print(json.encode(answer))
  elseif answer.result ~= nil and answer.result ~= json.null then
    print(type(answer.result) == "string" and answer.result or json.encode(answer.result))
  else
    print(answer.message and "done: " .. answer.message or "done")
  end
end

function actions.reload(options) act(options, "/api/reload", {}) end
function actions.shutdown(options) act(options, "/api/shutdown", {}) end

function actions.upgrade(options) act(options, "/api/upgrade", {}) end

function actions.restart(options)
  act(options, "/api/restart", { name = options.words[1] or "all", order = options.order })
end

function actions.scale(options)
  local workers = tonumber(options.words[1])
  if not workers then error("scale: how many workers? A number follows: perigee inspect scale 4", 0) end
  act(options, "/api/scale", { workers = workers })
end

--- Runs a command of the app's, whose arguments are name=value.
local function run_custom(options)
  local given = {}
  for _, word in ipairs(options.words) do
    local name, value = word:match("^([%a_][%w_]*)=(.*)$")
    if not name then error(("%s: arguments are name=value, not '%s'"):format(options.action, word), 0) end
    given[name] = value
  end
  local known, names = ask(options, "GET", "/api/commands").commands, {}
  for _, one in ipairs(known) do names[#names + 1] = one.name end
  local is_known = false
  for _, name in ipairs(names) do is_known = is_known or name == options.action end
  if not is_known then
    for name in pairs(actions) do names[#names + 1] = name end
    table.sort(names)
    error(("there is no command '%s'%s"):format(options.action, nearest.hint(options.action, names)), 0)
  end
  act(options, "/api/commands/" .. options.action, given)
end

local takes = { restart = 1, scale = 1 } -- words behind the action

--- Runs `perigee inspect`. Blocks; raises, as a string, what has to be told.
---@param options { action: string|nil, words: string[], address: string|nil, key: string|nil, json: boolean,
---   watch: boolean, follow: boolean, bytes: number, order: string|nil }
function command.run(options)
  options.action = options.action or "state"
  options.address = options.address or os.getenv("PERIGEE_INSPECTOR") or DEFAULT_ADDRESS
  if options.address == "on" then options.address = DEFAULT_ADDRESS end
  options.key = options.key or os.getenv("PERIGEE_INSPECTOR_KEY")
  local action = actions[options.action]
  if not action then return run_custom(options) end
  if #options.words > (takes[options.action] or 0) then
    error(("%s: there is a word too many: '%s'"):format(options.action, options.words[#options.words]), 0)
  end
  action(options)
end

return command
