-- A job queue: requests leave jobs, processes beside the workers do them, and none is lost when one of these
-- is killed.
--
--   perigee serve scripts/apps/jobs.lua
--   curl -d '{"text":"count these words"}' localhost:8000/jobs
--   curl localhost:8000/jobs/1
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "jobs"

local CONSUMERS = 2 -- processes
local ATTEMPTS = 3  -- after which a job that kills its consumers is given up
local KEPT = 3600   -- seconds that a result is kept

app:main_process_start(function()
  app.shared.ids = perigee.shared.value("job ids", "int64")
  app.shared.jobs = perigee.shared.queue("jobs", { capacity = 10000, message_limit = 8192 })
  app.shared.results = perigee.shared.dict("results", { size = "8 MiB", eviction = "lru" })
end)

local function say(id, state)
  app.shared.results:set("job:" .. id, state, KEPT)
end

app:post("/jobs", function(req)
  local text = (req.json or {}).text
  if type(text) ~= "string" then http.abort(400, 'a job is {"text": "…"}') end
  local id = app.shared.ids:add(1)
  say(id, { id = id, state = "waiting" })
  local ok, problem, code = app.shared.jobs:try_put { id = id, text = text }
  if not ok then http.abort(code == "TOO_BIG" and 413 or 503, problem) end
  return http.json({ id = id }, 202, { Location = "/jobs/" .. id })
end)

app:get("/jobs/<id:int>", function(_, id)
  return app.shared.results:get("job:" .. id) or http.abort(404, "there is no such job")
end)

app:get("/", function() return app.shared.jobs:stat() end)

local function work(job)
  perigee.sleep(0.2) -- something slow
  local words = 0
  for _ in job.text:gmatch "%S+" do words = words + 1 end
  return words
end

local function take(job, receipt)
  if receipt.deliveries > ATTEMPTS then
    say(job.id, { id = job.id, state = "given up" })
  else
    local ok, result = pcall(work, job)
    say(job.id, { id = job.id, state = ok and "done" or "failed", words = ok and result or nil,
      attempts = receipt.deliveries })
  end
  receipt:ack()
end

-- A job is acknowledged when its result is there: if its consumer dies before, the next takes the job up,
-- in its old place before younger ones. Transient: a reload gives them the new code.
app.manager:manage("consumer", function(process)
  while not process.stopping do
    local job, receipt = app.shared.jobs:get_ack(0.5) -- seconds until it looks whether it is to end
    if job then take(job, receipt) end
  end
end, { workers = CONSUMERS, transient = true, restart = "always", max_restarts = 100, within = 60 })

return app
