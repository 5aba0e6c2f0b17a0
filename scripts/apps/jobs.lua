-- A job queue: requests leave jobs, every worker takes them, and none is lost when a worker is killed.
--
--   perigee serve scripts/apps/jobs.lua --workers 4
--   curl -d '{"text":"count these words"}' localhost:8000/jobs
--   curl localhost:8000/jobs/1
local perigee = require "perigee"
local http = require "perigee.http"
local app = perigee.app "jobs"

local ATTEMPTS = 3 -- after which a job that kills its workers is given up
local KEPT = 3600  -- seconds that a result is kept

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

-- One consumer in each worker. A job is acknowledged when its result is there: if the worker dies before,
-- another takes the job up, in its old place before younger ones.
app:add_task(function()
  for job, receipt in app.shared.jobs:items_ack() do
    if receipt.deliveries > ATTEMPTS then
      say(job.id, { id = job.id, state = "given up" })
    else
      local ok, result = pcall(work, job)
      say(job.id, { id = job.id, state = ok and "done" or "failed", words = ok and result or nil,
        attempts = receipt.deliveries })
    end
    receipt:ack()
  end
end, { name = "consumer" })

return app
