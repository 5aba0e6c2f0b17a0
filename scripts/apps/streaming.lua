-- Answers that are sent in pieces, as they come to be:
--
--   perigee serve scripts/apps/streaming.lua
--   curl -N localhost:8000/count/5
--   curl -N localhost:8000/primes
--   curl -N localhost:8000/log
--
local perigee = require "perigee"
local http = require "perigee.http"

local app = perigee.app "streaming"

app:get("/", function()
  return "try /count/5, /primes and /log\n"
end)

-- A line now and then. The worker serves others while this one sleeps; when the client goes away,
-- the next write or sleep ends the handler.
app:get("/count/<to:int>", function(_, to)
  if to > 100 then http.abort(400, "at most 100, please") end
  return http.stream(function(write)
    for i = 1, to do
      write(i .. "\n")
      perigee.sleep(0.1)
    end
  end)
end)

-- As much as the client takes: `write` waits while it is slow, so this needs no memory to speak of.
app:get("/primes", function()
  return http.stream(function(write)
    local primes = {}
    for n = 2, 20000 do
      local prime = true
      for _, p in ipairs(primes) do
        if p * p > n then break end
        if n % p == 0 then
          prime = false
          break
        end
      end
      if prime then
        primes[#primes + 1] = n
        if not write(n .. "\n") then return end -- the client has gone
      end
    end
  end)
end)

-- What another program says, line by line.
app:get("/log", function()
  return http.stream(function(write)
    local script = "for i in 1 2 3; do echo line $i; sleep 0.1; done"
    local child = assert(perigee.process.start { "sh", "-c", script })
    for line in child:lines() do write(line .. "\n") end
    child:wait()
  end)
end)

return app
