-- A client that asks once: connect, GET, read the answer. For measuring when something answers.

local uv = require "luv"
local process = require "bench.support.process"

local client = {}

--- Asks for `path`. Does not wait: the answer is in the table returned once `done` is set.
-- @return { done, status, body, failure }
function client.ask(port, path)
  local answer, chunks = {}, {}
  local socket = uv.new_tcp()
  local function finish(failure)
    if answer.done then return end
    answer.done, answer.failure = true, failure
    local text = table.concat(chunks)
    answer.status = tonumber(text:match "^HTTP/1.1 (%d+)")
    answer.body = text:match "\r\n\r\n(.*)$"
    socket:close()
  end
  local function whole()
    local head, body = table.concat(chunks):match "^(.-)\r\n\r\n(.*)$"
    local length = head and head:lower():match "\ncontent%-length: (%d+)"
    return length and #body >= tonumber(length)
  end
  socket:connect("127.0.0.1", port, function(failure)
    if failure then return finish(failure) end
    socket:read_start(function(why, chunk)
      if not chunk then return finish(why) end
      chunks[#chunks + 1] = chunk
      if whole() then finish() end
    end)
    socket:write("GET " .. path .. " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
  end)
  return answer
end

--- Asks and waits for the answer, or nil after `seconds` (5).
function client.get(port, path, seconds)
  local answer = client.ask(port, path)
  process.wait(seconds or 5, function() return answer.done end)
  return answer.status and answer or nil
end

--- Asks every half millisecond until a 200 comes. Returns the seconds it took, or nil after `seconds`.
function client.first_answer(port, path, seconds)
  local began = process.now()
  while process.now() - began < seconds do
    local answer = client.ask(port, path)
    process.wait(seconds, function() return answer.done end)
    if answer.status == 200 then return process.now() - began end
    uv.sleep(1)
  end
  return nil
end

return client
